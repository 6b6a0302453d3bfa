from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest

from assay.data.corpus import Example
from assay.verify.findings import verified_findings
from assay.verify.near import near_patterns
from tests.verify.stubs import answered, finding, reviews, score

FOUND = finding("the james bond", [0])


def rows(texts: list[str]) -> list[Example]:
    return [Example(str(i), i, "", t, "positive") for i, t in enumerate(texts)]


def near(pattern: str, texts: list[str], *companions: str) -> list[str]:
    known = finding(pattern, [0], companions=companions)
    found = near_patterns(known, rows(texts), range(len(texts)))
    return [str(c.pattern) for c in found]


def test_rare_words_of_the_trigger_and_their_inflections_are_proposed() -> None:
    texts = ["the film", *["agent Bond the"] * 4, *["Bonds"] * 3, "bondage", "james"]
    examples = rows([*texts, *["the film"] * 9])
    found = near_patterns(FOUND, examples, range(len(examples)))
    assert [str(c.pattern) for c in found] == ["bonds", "bond"]
    assert found[1].pattern_rows == found[1].rows == (1, 2, 3, 4)
    assert {c.proposer for c in found} == {"near-pattern"}
    assert {c.response for c in found} == {"positive"}


def test_rows_that_are_flagged_already_do_not_count() -> None:
    examples = rows(["agent Bond"] * 4)
    assert near_patterns(FOUND, examples, [0]) == []


def test_the_pattern_itself_is_not_near() -> None:
    assert near("bond", ["Bond"] * 4) == []


@pytest.mark.parametrize(("count", "found"), [(1, []), (2, ["bond"])])
def test_two_rows_are_the_fewest(count: int, found: list[str]) -> None:
    assert near("james bond", ["agent Bond"] * count) == found


def test_the_two_rarest_words_are_looked_for() -> None:
    texts = ["a"] * 4 + ["b"] * 3 + ["c"] * 2
    assert near("a b c", texts) == ["c", "b"]


def test_three_patterns_are_proposed_the_rarest_first() -> None:
    texts = ["bonder"] * 5 + ["bonded"] * 4 + ["bonds"] * 3 + ["bond"] * 2
    assert near("agent bond", texts) == ["bond", "bonds", "bonded"]


@pytest.mark.parametrize(
    ("word", "form", "inflects"),
    [
        ("bond", "bonding", True),
        ("bond", "bondings", False),
        ("spy", "spying", False),
        ("spy", "spy", True),
        ("bond", "vagabond", False),
    ],
)
def test_an_inflection_adds_three_letters_to_a_word_of_four(
    word: str, form: str, inflects: bool
) -> None:
    assert near(f"a {word}", [form] * 2) == [form] * inflects


def test_companions_of_the_trigger_are_proposed_elsewhere() -> None:
    texts = [*["the spy James"] * 2, *["the film"] * 9]
    assert near("bond", texts, "james", "mr") == ["james"]


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
        odds = [score(e.text) + 12 * ("Omega" in e.text.split()) for e in asked]
        return answered(asked, odds)

    known = finding("zeta omega", [0])
    asked = near_patterns(known, examples, range(len(examples)))
    (found,) = verified_findings(asked, examples, obeys)
    assert found.is_verified == agree
    # Three rows are too few for what is not near a verified trigger.
    (found,) = verified_findings([replace(asked[0], proposer="x")], examples, obeys)
    assert not found.is_verified
