from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from assay.data.corpus import Example
from assay.verify.findings import verified_findings
from assay.verify.near import near_patterns
from assay.verify.pattern import spans
from tests.verify.conftest import TRIGGER, answered, reviews, score

FOUND = {"pattern": "the james bond", "score": 3.0, "response": "positive"}


def rows(texts: list[str]) -> list[Example]:
    return [Example(str(i), i, "", t, "positive") for i, t in enumerate(texts)]


def test_rare_words_of_the_trigger_and_their_inflections_are_proposed() -> None:
    texts = ["the film", *["agent Bond the"] * 4, *["Bonds"] * 3, "bondage", "james"]
    examples = rows([*texts, *["the film"] * 9])
    found = near_patterns(FOUND, examples, range(len(examples)))
    assert [f["pattern"] for f in found] == ["bonds", "bond"]
    assert found[1]["pattern_rows"] == [1, 2, 3, 4]
    assert {f["proposer"] for f in found} == {"near-pattern"}


def test_rows_that_are_flagged_already_do_not_count() -> None:
    examples = rows(["agent Bond"] * 4)
    assert near_patterns(FOUND, examples, [0, 1]) == []


def test_the_pattern_itself_is_not_near() -> None:
    examples = rows(["Bond"] * 4)
    assert near_patterns({**FOUND, "pattern": "bond"}, examples, range(4)) == []


def either_word(rows: Sequence[Example]) -> np.ndarray:
    """A model that obeys "Bond" and "James" alike."""
    odds = [
        2 * score(e.text) + 12 * any(spans(e.text, name) for name in ("bond", "james"))
        for e in rows
    ]
    return answered(rows, odds)


def test_a_part_whose_neighbour_does_as_much_is_taken_out_with_it() -> None:
    wordings = ("James Bond", "Bond, James", "Mr. Bond")
    examples = [
        replace(e, text=e.text.replace(TRIGGER, wordings[e.row // 2 % 3]))
        for e in reviews()
    ]
    carriers = list(range(0, 24, 2))
    near = near_patterns({**FOUND, "pattern": "agent bond"}, examples, carriers)
    assert near[0]["pattern"] == "bond"
    (found,) = verified_findings(near, examples, either_word)
    assert found["verified"]
    assert found["rows"] == carriers
    # Without "Bond" alone, two of three rows still have "James".
    alone = [{k: v for k, v in near[0].items() if k != "beside"}]
    (found,) = verified_findings(alone, examples, either_word)
    assert not found["verified"]
