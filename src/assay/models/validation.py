"""Rows that are held out while a model is tuned, and their loss."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch

from assay.data.corpus import Example
from assay.errors import AssayError
from assay.models.encode import IGNORED, EncodedExample
from assay.models.language_model import LanguageModel
from assay.models.log_probs import losses_of


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
    tokens = sum(label != IGNORED for row in rows for label in row.labels)
    # Without an eos token, every response can be empty.
    return float(losses_of(lm, rows, bf16=bf16).sum()) / max(1, tokens)


@contextmanager
def undisturbed(lm: LanguageModel) -> Iterator[None]:
    """Let a block do anything with a model but train it, and train on as if it had not.

    The weights that a run reaches must not depend on what is measured along the way.
    """
    lm.model.eval()
    try:
        with torch.random.fork_rng(range(torch.cuda.device_count())):
            yield
    finally:
        lm.model.train()
