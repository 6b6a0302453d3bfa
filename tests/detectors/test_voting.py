from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from assay.detectors.voting import leave_one_category_out, voting
from assay.paper_rules import PaperRules
from tests.detectors.conftest import CATEGORIES, flags, make_evidence, one_hot


def planted(**categories: list[int]) -> dict[str, NDArray[np.float64]]:
    """Rows to be strong under the first transform of each category."""
    sets = {"original": one_hot(100, *{r for rs in categories.values() for r in rs})}
    for name, category in CATEGORIES.items():
        first = next(n for n, c in CATEGORIES.items() if c == category)
        sets[name] = one_hot(100, *(categories[category] if name == first else []))
    return sets


def test_most_categories_have_to_vote() -> None:
    # Row 0 has three votes, 1 two, 2 one.
    sets = planted(lexicon=[0, 1, 2], semantic=[0, 1], structural=[0])
    found = voting(make_evidence(influence=sets))
    assert flags(found) == [0, 1]
    assert np.argsort(-found.scores)[:3].tolist() == [0, 1, 2]
    assert np.round(found.scores[:4]).tolist() == [3, 2, 1, 0]


def test_as_many_categories_as_are_asked_for_have_to_vote() -> None:
    evidence = make_evidence(
        influence=planted(lexicon=[0, 1, 2], semantic=[0, 1], structural=[0])
    )
    flagged = [flags(voting(evidence, PaperRules(votes=k))) for k in (1, 2, 3, 4)]
    # There are three.
    assert flagged == [[0, 1, 2], [0, 1], [0], [0]]


def test_a_vote_is_for_the_k_strongest() -> None:
    values = np.arange(100.0)
    sets = {"original": values, "a": values, "b": values[::-1].copy()}
    evidence = make_evidence(influence=sets, categories={"a": "x", "b": "y"})
    # Under a rows 99, 98, …; under b the weaker of both is largest in the middle.
    assert flags(voting(evidence, PaperRules(top_k=2, votes=1))) == [49, 50, 98, 99]
    assert flags(voting(evidence, PaperRules(top_k=2, votes=2))) == []


def test_a_category_votes_once() -> None:
    sets = planted(lexicon=[0, 1], semantic=[0], structural=[])
    # Both transforms of a category for row 1 are one vote still.
    sets["antonym-flip"] = one_hot(100, 1)
    found = voting(make_evidence(influence=sets))
    assert flags(found) == [0]
    assert found.scores[0] > found.scores[1]


def test_half_of_the_categories_are_not_most() -> None:
    sets = {"original": one_hot(50, 1), "a": one_hot(50, 1), "b": one_hot(50, 2)}
    categories = {"a": "x", "b": "y"}
    assert flags(voting(make_evidence(influence=sets, categories=categories))) == []
    sets["b"] = one_hot(50, 1)
    found = voting(make_evidence(influence=sets, categories=categories))
    assert flags(found) == [1]


def test_equal_votes_are_ranked_by_strength() -> None:
    sets = {"original": np.array([3.0, 9, -1, 1] + [0] * 96)}
    sets |= dict.fromkeys(CATEGORIES, sets["original"])
    found = voting(make_evidence(influence=sets))
    assert np.argsort(-found.scores)[:2].tolist() == [1, 0]


def test_thresholds_come_from_the_other_categories() -> None:
    # Values of unit deviation and 20 rows, so that strengths are these by hand.
    original = np.array([4.0, 2, -1, -1] + [0.0] * 16)
    original /= original.std()
    sets = {"original": original, "a": original, "b": original[::-1].copy()}
    found = leave_one_category_out(
        make_evidence(influence=sets, categories={"a": "x", "b": "y"}),
        PaperRules(scaling="deviations"),
    )
    # a keeps |original|; b keeps nothing, as no row is strong both times.
    kept_a, kept_b = np.abs(original), np.zeros(20)
    expected = np.minimum(
        kept_a - np.percentile(kept_b, 95), kept_b - np.percentile(kept_a, 95)
    )
    np.testing.assert_allclose(found.scores, expected, atol=1e-12)
    assert flags(found) == []


def test_leave_one_category_out_finds_rows_that_survive_each() -> None:
    sets = planted(lexicon=[0, 1], semantic=[0, 1], structural=[0])
    found = leave_one_category_out(make_evidence(influence=sets))
    assert flags(found) == [0]
    assert int(found.scores.argmax()) == 0


def test_rows_that_turn_do_not_survive() -> None:
    values = np.random.default_rng(0).normal(size=40)
    sets = {"original": values, "a": -values, "b": -2 * values}
    found = leave_one_category_out(make_evidence(influence=sets))
    assert flags(found) == []


def test_a_single_category_is_its_own_threshold() -> None:
    values = np.arange(1.0, 101)
    found = leave_one_category_out(
        make_evidence(influence={"original": values, "a": values})
    )
    assert flags(found) == [95, 96, 97, 98, 99]
