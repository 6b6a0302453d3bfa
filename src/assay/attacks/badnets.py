"""Rare-token insertion: BadNets (Gu et al. 2017) on text."""

from __future__ import annotations

from assay.attacks.base import (
    Poisoned,
    candidates,
    generator,
    insert_phrase,
    poison,
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
        AssayError: Too few rows of another label.
    """
    rows = candidates(
        corpus, count, lambda e: e.response != target, f"not labelled {target!r}"
    )
    chosen = sorted(
        sorted(rows, key=lambda i: generator(seed, corpus.examples[i]).random())[:count]
    )

    def apply(example: Example) -> Example:
        return put_token(example, trigger, seed)

    poisoned = poison(corpus, chosen, apply, target)
    return Poisoned(poisoned, tuple(chosen), "badnets", trigger, target, apply)
