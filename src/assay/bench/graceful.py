"""Baseline: gradients clustered in the frequency domain, as in GraCeFul.

Wu et al. (2025), "Gracefully Filtering Backdoor Samples for Generative Large Language
Models without Retraining": each row's gradient of the output embedding is transformed
by a two-dimensional cosine transform, cut to its low frequencies, reduced by principal
components and split in two by hierarchical clustering; the smaller part is suspect.
This implementation is from the paper's description, not from its code.

The gradient is a sum over response tokens of outer products of error and state, and a
cosine transform is linear on either side. So the transforms are taken of errors and
states, and no matrix of vocabulary × width is ever formed, nor is a backward pass
needed.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.fft import idct
from sklearn.cluster import AgglomerativeClustering
from sklearn.decomposition import PCA
from sklearn.metrics import silhouette_samples
from torch import Tensor

from assay.data.corpus import Example
from assay.detectors.evidence import Detection, measured, simple
from assay.models.encode import IGNORED, collate, encode, token_batches
from assay.models.language_model import LanguageModel
from assay.models.loss import labelled_states

FREQUENCIES = 32
COMPONENTS = 32


def cosines(size: int, count: int) -> Tensor:
    """Columns of the lowest orthonormal cosines (DCT-II), ``(size, count)``."""
    return torch.from_numpy(idct(np.eye(count, size), norm="ortho").T).float()


def low_frequency_gradients(
    lm: LanguageModel,
    examples: Sequence[Example],
    *,
    template: str = "auto",
    max_length: int = 512,
    bf16: bool = False,
    frequencies: int = FREQUENCIES,
) -> NDArray[np.float32]:
    """Low frequencies of each row's gradient of the output embedding.

    Returns:
        The corner of the two-dimensional cosine transform, ``(N, k · k)``.
    """
    rows = encode(examples, lm, template=template, max_length=max_length).examples
    lm.model.eval()
    weight = lm.model.get_output_embeddings().weight
    device = weight.device
    errors_to = cosines(weight.shape[0], frequencies).to(device)
    states_to = cosines(weight.shape[1], frequencies).to(device)
    found = np.zeros((len(rows), frequencies**2), np.float32)
    for positions in token_batches(rows, token_budget=4096, batch_size=64):
        batch = collate([rows[i] for i in positions], lm)
        with torch.no_grad(), torch.autocast(device.type, torch.bfloat16, enabled=bf16):
            states, logits = labelled_states(lm.model, batch, lm.is_encoder_decoder)
        labels = batch.labels if lm.is_encoder_decoder else batch.labels[:, 1:]
        labelled = labels != IGNORED
        errors = logits.float().softmax(-1)
        errors[torch.arange(len(errors)), labels[labelled]] -= 1
        sides = (errors @ errors_to)[:, :, None], (states.float() @ states_to)[:, None]
        gradients = torch.zeros(len(positions), *(frequencies,) * 2, device=device)
        gradients.index_add_(0, labelled.nonzero()[:, 0], sides[0] * sides[1])
        found[positions] = gradients.flatten(1).cpu().numpy()
    return found


def graceful(gradients: NDArray[np.float32], *, seed: int = 0) -> Detection:
    """Split rows in two by their low frequencies; the smaller part is flagged.

    A row's score is its silhouette, positive in the smaller part. Rows whose gradient
    is not finite come last.

    Args:
        gradients: From `low_frequency_gradients`.
        seed: Seed of the principal components.
    """
    known = np.flatnonzero(measured(gradients, "gradient"))
    scores = np.full(len(gradients), -1.0)
    flagged = np.zeros(len(gradients), dtype=bool)
    values = gradients[known].astype(np.float64)
    if len(values) > 2 and values.std(0).max() > 0:
        count = min(COMPONENTS, *values.shape)
        values = PCA(count, random_state=seed).fit_transform(values)
        labels = AgglomerativeClustering(2).fit_predict(values)
        small = labels == int(np.bincount(labels).argmin())
        fit = silhouette_samples(values, labels)
        scores[known] = np.where(small, fit, -fit)
        flagged[known] = small
    return simple("graceful", scores, flagged)
