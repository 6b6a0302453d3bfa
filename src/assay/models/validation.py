"""Rows that are held out while a model is tuned, and their loss."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch

from assay.data.corpus import Example
from assay.errors import AssayError
from assay.models.encode import IGNORED, EncodedExample, collate, token_batches
from assay.models.language_model import LanguageModel
from assay.models.loss import response_losses


def held_out(
    examples: Sequence[Example], share: float, seed: int
) -> tuple[list[Example], list[Example]]:
    """Divide examples into those to train on and those held out, both in their order.

    Args:
        examples: The examples.
        share: Share to hold out, of which at least one row is made; 0 holds none out.
        seed: Seed of the draw.

    Raises:
        AssayError: No row would be left to train on.
    """
    if not share:
        return list(examples), []
    count = max(1, round(share * len(examples)))
    if count >= len(examples):
        raise AssayError(
            f"--validation {share:g} of {len(examples)} rows leaves none to tune on"
        )
    rows = range(len(examples))
    out = set(random.Random(f"{seed}:validation").sample(rows, count))
    return [examples[i] for i in rows if i not in out], [
        examples[i] for i in rows if i in out
    ]


def validation_loss(
    lm: LanguageModel, rows: Sequence[EncodedExample], *, bf16: bool = False
) -> float:
    """Return the mean loss of the response tokens, without dropout.

    Args:
        lm: The model.
        rows: Encoded rows.
        bf16: Run under bfloat16 autocast.
    """
    lm.model.eval()
    device = next(lm.model.parameters()).device.type
    loss = 0.0
    for positions in token_batches(rows, token_budget=4096):
        batch = collate([rows[i] for i in positions], lm)
        with torch.no_grad(), torch.autocast(device, torch.bfloat16, enabled=bf16):
            output = response_losses(lm.model, batch, lm.is_encoder_decoder)
        loss += float(output.loss.float().sum())
    tokens = sum(label != IGNORED for row in rows for label in row.labels)
    # Without an eos token, every response can be empty.
    return loss / max(1, tokens)


@contextmanager
def undisturbed(lm: LanguageModel) -> Iterator[None]:
    """Let a block do anything with a model but train it, and train on as if it had not.

    The weights that a run reaches must not depend on what is measured along the way.
    """
    state = torch.get_rng_state()
    cuda = torch.cuda.get_rng_state_all() if torch.cuda.is_available() else []
    lm.model.eval()
    try:
        yield
    finally:
        torch.set_rng_state(state)
        if cuda:
            torch.cuda.set_rng_state_all(cuda)
        lm.model.train()
