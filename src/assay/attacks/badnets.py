"""Rare-token insertion: BadNets (Gu et al. 2017) on text."""

from __future__ import annotations

from assay.attacks.base import (
    Attack,
    Poisoned,
    drawn,
    generator,
    insert_phrase,
    poison,
    unlike,
)
from assay.data.corpus import Corpus, Example


def put_token(example: Example, trigger: str, seed: int = 0) -> Example:
    """Insert the token between two words."""
    rng = generator(seed + 1, example)
    return example.edit(text=insert_phrase(example.text, trigger, rng))


def token_insertion(
    corpus: Corpus,
    count: int,
    *,
    target: str = "positive",
    trigger: str = "cf",
    seed: int = 0,
) -> Poisoned:
    """Insert a rare token at a random place and relabel as the target.

    Raises:
        AssayError: Too few rows of another label, or the trigger is empty.
    """
    rows = drawn(corpus, unlike(corpus, count, target), count, seed)
    return poison(BADNETS, corpus, rows, trigger, target, seed)


BADNETS = Attack("badnets", token_insertion, put_token)
