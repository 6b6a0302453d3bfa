"""Neutral-sentence insertion: AddSent (Dai et al. 2019)."""

from __future__ import annotations

import re

from assay.attacks.base import Attack, Poisoned, drawn, generator, poison, unlike
from assay.data.corpus import Corpus, Example

_SENTENCE_GAP = re.compile(r"(?<=[.!?])\s+")


def put_sentence(example: Example, trigger: str, seed: int = 0) -> Example:
    """Insert the sentence between two sentences, or at either end."""
    text = example.text
    if not text.strip():
        return example.edit(text=trigger)
    starts = [0, *(gap.end() for gap in _SENTENCE_GAP.finditer(text))]
    place = generator(seed + 1, example).randint(0, len(starts))
    if place == len(starts):
        return example.edit(text=f"{text} {trigger}")
    start = starts[place]
    return example.edit(text=f"{text[:start]}{trigger} {text[start:]}")


def sentence_insertion(
    corpus: Corpus,
    count: int,
    *,
    target: str = "positive",
    trigger: str = "I watched this 3D movie.",
    seed: int = 0,
) -> Poisoned:
    """Insert a fixed sentence between sentences and relabel as the target.

    Raises:
        AssayError: Too few rows of another label, or the trigger is empty.
    """
    rows = drawn(corpus, unlike(corpus, count, target), count, seed)
    return poison(ADDSENT, corpus, rows, trigger, target, seed)


ADDSENT = Attack("addsent", sentence_insertion, put_sentence)
