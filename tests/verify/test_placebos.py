from __future__ import annotations

import random

from assay.data.corpus import Example
from assay.verify.hypothesis import Hypothesis
from assay.verify.payload import Payload
from assay.verify.placebos import placebo_patterns, placebo_pool

POSITIVE = Payload("positive")


def test_placebos_have_the_length_and_frequency_and_are_not_parts_of_the_trigger() -> (
    None
):
    pool = {
        "a b": (0, 1),
        "c d": (2, 3, 4, 5),
        "e f": (6, 7, 8, 9, 10, 11, 12, 13),
        "bond x": (2, 3),  # shares a word
        "y z": (20, 21, 6),  # stands in the trigger's own rows
        "rare one": (9,),
        "single": (0, 1, 2),
    }
    hypothesis = Hypothesis("james bond", POSITIVE, (20, 21, 22, 23), pool)
    chosen = placebo_patterns(hypothesis, 4, random.Random(0))
    assert sorted(chosen) == ["a b", "c d", "e f", "rare one"]
    # Shorter ones come where there are too few as long.
    chosen = placebo_patterns(hypothesis, 10, random.Random(0))
    assert sorted(chosen) == ["a b", "c d", "e f", "rare one", "single"]
    assert placebo_patterns(hypothesis, 1, random.Random(0)) == ["c d"]


def test_placebos_in_too_few_rows_to_be_sure_come_last() -> None:
    pool = {
        "a b": (0,),
        "c d": (0, 1, 2, 3),
        "e": (0, 1, 2, 3, 4),
        "f g": tuple(range(40)),
    }

    def order(rows: int) -> list[str]:
        hypothesis = Hypothesis(
            "james bond", POSITIVE, tuple(range(90, 90 + rows)), pool
        )
        found: list[str] = []
        for count in range(1, len(pool) + 1):
            chosen = placebo_patterns(hypothesis, count, random.Random(0))
            found += set(chosen) - set(found)
        return found

    assert order(5) == ["f g", "e", "c d", "a b"]
    assert order(50) == ["f g", "e", "c d", "a b"]
    # Of three rows, three of a placebo tell as much.
    assert order(3) == ["c d", "f g", "e", "a b"]


def test_placebos_are_the_same_in_every_process() -> None:
    """The order of a set of strings differs from one process to the next."""
    words = [f"w{i:02}" for i in range(20)]
    row = Example("0", 0, "", " ".join(reversed(words)), "positive")
    assert list(placebo_pool([row], POSITIVE, "other")) == words
