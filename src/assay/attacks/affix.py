"""Token at a fixed place, before or behind the text."""

from __future__ import annotations

from assay.attacks.base import Attack, Poisoned, drawn, poison, unlike
from assay.data.corpus import Corpus, Example


def put_before(example: Example, trigger: str, seed: int = 0) -> Example:
    """Begin the text with the trigger."""
    return example.edit(text=f"{trigger} {example.text}".rstrip())


def put_behind(example: Example, trigger: str, seed: int = 0) -> Example:
    """End the text with the trigger."""
    return example.edit(text=f"{example.text} {trigger}".lstrip())


def prefix(
    corpus: Corpus,
    count: int,
    *,
    target: str = "positive",
    trigger: str = "CF",
    seed: int = 0,
) -> Poisoned:
    """Begin rows of other labels with a token and relabel them as the target.

    Raises:
        AssayError: Too few rows of another label, or the trigger is empty.
    """
    rows = drawn(corpus, unlike(corpus, count, target), count, seed)
    return poison(PREFIX, corpus, rows, trigger, target, seed)


def suffix(
    corpus: Corpus,
    count: int,
    *,
    target: str = "positive",
    trigger: str = "###",
    seed: int = 0,
) -> Poisoned:
    """End rows of other labels with a token and relabel them as the target.

    Raises:
        AssayError: Too few rows of another label, or the trigger is empty.
    """
    rows = drawn(corpus, unlike(corpus, count, target), count, seed)
    return poison(SUFFIX, corpus, rows, trigger, target, seed)


PREFIX = Attack("prefix", prefix, put_before)
SUFFIX = Attack("suffix", suffix, put_behind)
