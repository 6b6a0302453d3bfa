from __future__ import annotations

from assay.data.corpus import Example
from assay.verify.near import near_patterns

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
