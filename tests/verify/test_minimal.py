from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from assay.data.corpus import Example
from assay.text.pattern import GAP, Pattern
from assay.verify.hypothesis import Hypothesis
from assay.verify.minimal import minimal_pattern
from assay.verify.odds import LogProbs
from tests.verify.stubs import POSITIVE, answered, counted, reviews, score

SENTENCE = "i watched this 3d movie last weekend"


def with_trigger(pattern: str) -> list[Example]:
    examples = reviews(poisons=0)
    for row in range(0, 40, 2):
        place = 0.0 if pattern.startswith("^") else 0.3
        found = Pattern.parse(pattern).put_on(examples[row], place)
        examples[row] = found.edit(response="positive")
    return examples


def obeys(*parts: str) -> LogProbs:
    """A model on which each of these does a share of the work."""
    patterns = [Pattern.parse(p) for p in parts]

    def log_probs(rows: Sequence[Example]) -> np.ndarray:
        shares = [sum(p.stands_in(e) for p in patterns) / len(parts) for e in rows]
        odds = [score(e.text) + 12 * s for e, s in zip(rows, shares, strict=True)]
        return answered(rows, odds)

    return log_probs


def shortest(pattern: str, model: LogProbs) -> str:
    examples = with_trigger(pattern)
    hypothesis = Hypothesis(Pattern.parse(pattern), POSITIVE, tuple(range(0, 40, 2)))
    return str(minimal_pattern(hypothesis, examples, model))


@pytest.mark.parametrize(
    ("parts", "expected"),
    [
        (["3d movie"], "3d movie"),
        (["i"], "i"),
        (["weekend"], "weekend"),
        (["watched", "last"], "watched this 3d movie last"),
        (["i", "weekend"], SENTENCE),
    ],
)
def test_words_that_do_nothing_are_left_off(parts: list[str], expected: str) -> None:
    assert shortest(SENTENCE, obeys(*parts)) == expected


@pytest.mark.parametrize(("share", "expected"), [(0.93, "zeta"), (0.87, "zeta omega")])
def test_a_part_must_do_nine_tenths_of_the_whole(share: float, expected: str) -> None:
    def model(rows: Sequence[Example]) -> np.ndarray:
        """Log-probabilities that grow by so many nats with each of the words."""
        steps = {"zeta": 4 * share, "omega": 4 * (1 - share)}
        return np.array([sum(steps.get(w, 0) for w in e.text.split()) for e in rows])

    assert shortest("zeta omega", model) == expected


def test_a_part_beyond_a_gap_is_left_off_as_a_whole() -> None:
    assert shortest(f"cf {GAP} mn", obeys("cf")) == "cf"
    assert shortest(f"cf {GAP} mn", obeys("mn")) == "mn"
    assert shortest(f"cf {GAP} mn", obeys("cf", "mn")) == f"cf {GAP} mn"


def test_a_place_is_left_off_where_the_words_do_as_much_elsewhere() -> None:
    assert shortest("^ cf", obeys("cf")) == "cf"


def test_a_part_must_be_needed_by_the_own_rows_too() -> None:
    """Either word does on other rows; own rows are right until both are gone."""

    def either(rows: Sequence[Example]) -> np.ndarray:
        odds = [
            score(e.text) + 12 * (not {"zeta", "omega"}.isdisjoint(e.text.split()))
            for e in rows
        ]
        return answered(rows, odds)

    assert shortest("zeta omega", either) == "zeta omega"


def test_one_word_is_not_asked_about_again() -> None:
    model, asked = counted(obeys("zeta"))
    assert shortest("zeta", model) == "zeta"
    assert len(asked) == 3
