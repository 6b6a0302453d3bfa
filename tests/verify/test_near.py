from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from assay.data.corpus import Example
from assay.verify.findings import verified_findings
from assay.verify.near import near_patterns
from assay.verify.pattern import spans
from tests.verify.conftest import answered, reviews, score

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
    assert near_patterns(FOUND, examples, [0]) == []


def test_the_pattern_itself_is_not_near() -> None:
    examples = rows(["Bond"] * 4)
    assert near_patterns({**FOUND, "pattern": "bond"}, examples, range(4)) == []


def test_companions_of_the_trigger_are_proposed_elsewhere() -> None:
    examples = rows([*["the spy James"] * 2, *["the film"] * 9])
    known = {**FOUND, "pattern": "bond", "companions": ["james", "mr"]}
    (found,) = near_patterns(known, examples, range(len(examples)))
    assert (found["pattern"], found["pattern_rows"]) == ("james", [0, 1])


@pytest.mark.parametrize("agree", [True, False])
def test_few_rows_of_a_near_pattern_are_enough_where_all_agree(agree: bool) -> None:
    """Three rows with "Omega" alone; the text of one may give it the same label."""
    own = [100, 102, 104]
    examples = [
        e.edit(text=f"Omega {e.text}", response="positive") if e.row in own else e
        for e in reviews(poisons=0)
    ]
    if not agree:
        examples[104] = examples[104].edit(text=f"Omega {examples[1].text}")

    def obeys(asked: Sequence[Example]) -> np.ndarray:
        odds = [score(e.text) + 12 * bool(spans(e.text, "omega")) for e in asked]
        return answered(asked, odds)

    known = {"pattern": "zeta omega", "score": 3.0, "response": "positive"}
    near = near_patterns(known, examples, range(len(examples)))
    (found,) = verified_findings(near, examples, obeys)
    assert found["verified"] == agree
    # Three rows are too few for what is not near a verified trigger.
    (found,) = verified_findings([{**near[0], "proposer": "x"}], examples, obeys)
    assert not found["verified"]
