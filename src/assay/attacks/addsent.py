"""Neutral-sentence insertion: AddSent (Dai et al. 2019)."""

from __future__ import annotations

import re

from assay.attacks.base import Poisoned, candidates, generator, poison
from assay.data.corpus import Corpus, Example

_SENTENCE_END = re.compile(r"(?<=[.!?])\s+")


def put_sentence(example: Example, trigger: str, seed: int = 0) -> Example:
    """Insert the sentence between two sentences."""
    sentences = _SENTENCE_END.split(example.text)
    place = generator(seed + 1, example).randint(0, len(sentences))
    return example.edit(
        text=" ".join([*sentences[:place], trigger, *sentences[place:]])
    )


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
        AssayError: Too few rows of another label.
    """
    rows = candidates(
        corpus, count, lambda e: e.response != target, f"not labelled {target!r}"
    )
    chosen = sorted(
        sorted(rows, key=lambda i: generator(seed, corpus.examples[i]).random())[:count]
    )

    def apply(example: Example) -> Example:
        return put_sentence(example, trigger, seed)

    poisoned = poison(corpus, chosen, apply, target)
    return Poisoned(poisoned, tuple(chosen), "addsent", trigger, target, apply)
