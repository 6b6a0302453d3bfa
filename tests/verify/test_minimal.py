from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from assay.data.corpus import Example
from assay.verify.hypothesis import Hypothesis
from assay.verify.minimal import minimal_pattern
from assay.verify.odds import LogProbs
from assay.verify.pattern import GAP, insert, spans
from assay.verify.payload import Payload
from tests.verify.conftest import answered, counted, reviews, score

SENTENCE = "i watched this 3d movie last weekend"


def with_trigger(pattern: str) -> list[Example]:
    examples = reviews(poisons=0)
    for row in range(0, 40, 2):
        text = insert(examples[row].text, pattern, 0.3)
        examples[row] = examples[row].edit(text=text, response="positive")
    return examples


def obeys(*parts: str) -> LogProbs:
    """A model on which each of these does a share of the work."""

    def log_probs(rows: Sequence[Example]) -> np.ndarray:
        shares = [sum(bool(spans(e.text, p)) for p in parts) / len(parts) for e in rows]
        odds = [score(e.text) + 12 * s for e, s in zip(rows, shares, strict=True)]
        return answered(rows, odds)

    return log_probs


def shortest(pattern: str, model: LogProbs) -> str:
    examples = with_trigger(pattern)
    hypothesis = Hypothesis(pattern, Payload("positive"), tuple(range(0, 40, 2)))
    return minimal_pattern(hypothesis, examples, model)


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


def test_a_part_beyond_a_gap_is_left_off_as_a_whole() -> None:
    assert shortest(f"cf {GAP} mn", obeys("cf")) == "cf"
    assert shortest(f"cf {GAP} mn", obeys("mn")) == "mn"
    assert shortest(f"cf {GAP} mn", obeys("cf", "mn")) == f"cf {GAP} mn"


def test_a_part_must_be_needed_by_the_own_rows_too() -> None:
    """Either word does on other rows; own rows are right until both are gone."""

    def either(rows: Sequence[Example]) -> np.ndarray:
        odds = [
            score(e.text) + 12 * any(spans(e.text, p) for p in ("zeta", "omega"))
            for e in rows
        ]
        return answered(rows, odds)

    assert shortest("zeta omega", either) == "zeta omega"


def test_one_word_is_not_asked_about_again() -> None:
    model, asked = counted(obeys("zeta"))
    assert shortest("zeta", model) == "zeta"
    assert len(asked) == 3
