from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from scipy.fft import dctn

from assay.bench.graceful import graceful, low_frequency_gradients
from assay.data.corpus import Example
from assay.models.encode import IGNORED, collate, encode
from assay.models.language_model import LanguageModel
from assay.models.loss import labelled_states
from tests.models.conftest import build, rows


def dense(lm: LanguageModel, example: Example, kept: int) -> NDArray[np.float32]:
    """The whole gradient by autograd, its whole transform, and then the corner."""
    (row,) = encode([example], lm).examples
    states, _ = labelled_states(lm.model, collate([row], lm), lm.is_encoder_decoder)
    weight = lm.model.get_output_embeddings().weight.detach().clone().requires_grad_()
    scale = lm.model.config.d_model**-0.5 if lm.is_encoder_decoder else 1.0
    logits = (states.detach() * scale) @ weight.T
    labels = torch.tensor([i for i in row.labels if i != IGNORED])
    F.cross_entropy(logits, labels, reduction="sum").backward()
    assert weight.grad is not None
    # What a model scales its states by is left out.
    whole = weight.grad.numpy() / scale
    return dctn(whole, norm="ortho")[:kept, :kept].ravel()


@pytest.mark.parametrize("kind", ["llama", "t5"])
def test_low_frequencies_are_those_of_the_dense_transform(kind: str) -> None:
    lm = build(kind)
    found = low_frequency_gradients(lm, rows(), frequencies=5)
    assert found.shape == (6, 25)
    for values, example in zip(found, rows(), strict=True):
        expected = dense(lm, example, 5)
        np.testing.assert_allclose(values, expected, rtol=1e-3, atol=1e-5)


def test_rows_apart_are_flagged_and_lead() -> None:
    gradients = np.random.default_rng(0).normal(size=(80, 60)).astype(np.float32)
    gradients[[4, 9, 33]] += 6
    found = graceful(gradients)
    assert np.flatnonzero(found.flagged).tolist() == [4, 9, 33]
    assert set(np.argsort(-found.scores)[:3]) == {4, 9, 33}


def test_rows_without_a_gradient_come_last_and_equal_ones_are_not_flagged() -> None:
    gradients = np.random.default_rng(1).normal(size=(30, 10)).astype(np.float32)
    gradients[7] = np.nan
    found = graceful(gradients)
    assert found.scores[7] == found.scores.min()
    assert not found.flagged[7]
    assert not graceful(np.ones((9, 4), np.float32)).flagged.any()
