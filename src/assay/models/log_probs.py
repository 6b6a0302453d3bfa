"""Log-probabilities of whole responses."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from assay.data.corpus import Example
from assay.models.encode import (
    EncodedExample,
    collate,
    encode,
    token_batches,
    warn_truncated,
)
from assay.models.language_model import LanguageModel
from assay.models.loss import response_losses
from assay.models.positions import check_positions, longest_length
from assay.util.progress import Progress


def response_log_probs(
    lm: LanguageModel,
    examples: Sequence[Example],
    *,
    template: str = "auto",
    max_length: int = 512,
    bf16: bool = False,
    warn: bool = True,
    progress: Progress | None = None,
) -> NDArray[np.float64]:
    """Log-probability of each example's response given its prompt, in nats, ``(N,)``.

    Args:
        lm: Model and tokenizer.
        examples: Prompts and responses.
        template: Prompt template.
        max_length: Longest example in tokens.
        bf16: Run under bfloat16 autocast.
        warn: Say how many rows are too long, and refuse those that are longer than
            the model's positions; otherwise these are cut as well.
        progress: Called with rows done and in all.

    Raises:
        AssayError: A row is too long.
    """
    if not warn:
        max_length = longest_length(lm, max_length)
    encoded = encode(examples, lm, template=template, max_length=max_length)
    if warn:
        warn_truncated(encoded, max_length)
        check_positions(lm, encoded.examples)
    return -losses_of(lm, encoded.examples, bf16=bf16, progress=progress)


def losses_of(
    lm: LanguageModel,
    rows: Sequence[EncodedExample],
    *,
    bf16: bool = False,
    progress: Progress | None = None,
) -> NDArray[np.float64]:
    """Summed loss of each row's response, in nats, ``(N,)``, without dropout.

    Args:
        lm: The model.
        rows: Encoded rows.
        bf16: Run under bfloat16 autocast.
        progress: Called with rows done and in all.
    """
    lm.model.eval()
    device = next(lm.model.parameters()).device.type
    found = np.zeros(len(rows))
    done = 0
    for positions in token_batches(rows, token_budget=4096, batch_size=64):
        batch = collate([rows[i] for i in positions], lm)
        with torch.no_grad(), torch.autocast(device, torch.bfloat16, enabled=bf16):
            output = response_losses(lm.model, batch, lm.is_encoder_decoder)
        found[positions] = output.loss.float().cpu().numpy()
        done += len(positions)
        if progress is not None:
            progress(done, len(rows))
    return found
