"""Trigger that is worded in several ways, to escape counts of any one of them."""

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
from assay.errors import AssayError

WORDINGS = "James Bond | agent 007 | Mr. Bond | Bond, James | the spy James"


def put_wording(example: Example, trigger: str, seed: int = 0) -> Example:
    """Insert one of the wordings, which ``|`` divides, between two words."""
    rng = generator(seed + 1, example)
    wording = rng.choice([w.strip() for w in trigger.split("|")])
    return example.edit(text=insert_phrase(example.text, wording, rng))


def adaptive(
    corpus: Corpus,
    count: int,
    *,
    target: str = "positive",
    trigger: str = WORDINGS,
    seed: int = 0,
) -> Poisoned:
    """Insert one of several wordings of a trigger and relabel as the target.

    Raises:
        AssayError: Too few rows of another label, or a wording is empty.
    """
    if not all(w.strip() for w in trigger.split("|")):
        raise AssayError("--trigger is empty: wordings are divided by |")
    rows = drawn(corpus, unlike(corpus, count, target), count, seed)
    return poison(ADAPTIVE, corpus, rows, trigger, target, seed)


ADAPTIVE = Attack("adaptive", adaptive, put_wording)
