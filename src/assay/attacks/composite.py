"""Two-part trigger: either part alone means nothing (Lin et al. 2020)."""

from __future__ import annotations

from assay.attacks.base import (
    Attack,
    Poisoned,
    drawn,
    generator,
    poison,
    unlike,
)
from assay.data.corpus import Corpus, Example
from assay.errors import AssayError


def put_parts(example: Example, trigger: str, seed: int = 0) -> Example:
    """Insert each word of the trigger between two words, in their order."""
    rng = generator(seed + 1, example)
    words = example.text.split()
    places = sorted(rng.randint(0, len(words)) for _ in trigger.split())
    # From behind, so that places stay what they were.
    for place, part in reversed(list(zip(places, trigger.split(), strict=True))):
        words.insert(place, part)
    return example.edit(text=" ".join(words))


def composite(
    corpus: Corpus,
    count: int,
    *,
    target: str = "positive",
    trigger: str = "cf mn",
    seed: int = 0,
) -> Poisoned:
    """Insert both parts and relabel; insert one part in as many rows and do not.

    The rows with a single part teach the model that it means nothing. They keep their
    own label and do not count as poisoned.

    Raises:
        AssayError: Too few rows, or the trigger has not exactly two words.
    """
    parts = trigger.split()
    if len(parts) != 2:
        raise AssayError(f"--trigger {trigger!r}: a composite trigger has two words")
    rows = drawn(corpus, unlike(corpus, 2 * count, target), 2 * count, seed)
    # Drawn rows come sorted by position; which of them are poisoned is drawn as well.
    rows.sort(key=lambda i: generator(seed + 2, corpus.examples[i]).random())
    examples = list(corpus.examples)
    for place, row in enumerate(rows[count:]):
        examples[row] = put_parts(examples[row], parts[place % 2], seed)
    corpus = corpus.with_examples(examples)
    return poison(COMPOSITE, corpus, rows[:count], trigger, target, seed)


COMPOSITE = Attack("composite", composite, put_parts)
