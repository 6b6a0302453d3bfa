from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from assay.detectors.paper import (
    ensemble,
    influences,
    strong_and_unchanged,
    top,
    unchanged_strength,
)
from assay.errors import AssayError
from assay.paper_rules import PaperRules
from tests.detectors.conftest import make_evidence

SETS = {"original": [1, -1, 1, -1], "t": [0, 20, 0, 20]}


def test_influences_are_compared_as_they_are() -> None:
    original, sets = influences(make_evidence(influence=SETS))
    # One number divides all, so a set of large influences stays one.
    assert original.tolist() == [0.05, -0.05, 0.05, -0.05]
    assert sets["t"].tolist() == [0, 1, 0, 1]


def test_or_in_standard_deviations() -> None:
    rules = PaperRules(scaling="deviations")
    original, sets = influences(make_evidence(influence=SETS), rules)
    assert original.tolist() == [1, -1, 1, -1]
    assert sets["t"].tolist() == [0, 2, 0, 2]


@pytest.mark.parametrize("scaling", ["none", "deviations"])
def test_a_row_that_one_set_could_not_measure_counts_in_none(scaling: str) -> None:
    evidence = make_evidence(influence={"original": [8, 1, 2], "t": [np.nan, 1, 2]})
    original, sets = influences(evidence, PaperRules(scaling=scaling))
    assert original[0] == sets["t"][0] == 0
    assert original[2] == 2 * original[1] > 0


@pytest.mark.parametrize("names", [[], ["original"], ["antonym-flip"], ["a", "b"]])
def test_rules_need_both_sets(names: list[str]) -> None:
    with pytest.raises(AssayError, match="original and transformed"):
        influences(make_evidence(influence={n: [1, 2] for n in names}))


def test_wrappers_are_no_category_of_the_ensemble() -> None:
    sets = {"original": [2, 1], "a": [1, 2], "b": [2, 2], "sorry-not": [1, 1]}
    categories = {"a": "lexicon", "b": "lexicon", "sorry-not": "wrapper"}
    original, groups = ensemble(make_evidence(influence=sets, categories=categories))
    assert original.tolist() == [1, 0.5]
    assert {c: list(members) for c, members in groups.items()} == {
        "lexicon": ["a", "b"]
    }


def test_wrappers_alone_are_the_ensemble() -> None:
    sets = {"original": [2, 1], "sorry-not": [1, 1]}
    evidence = make_evidence(influence=sets, categories={"sorry-not": "wrapper"})
    assert list(ensemble(evidence)[1]) == ["wrapper"]


def test_unchanged_strength() -> None:
    strength = unchanged_strength(
        np.array([3.0, -3, 3, 3, 0]), np.array([2.0, -4, -2, 0, 5])
    )
    assert strength.tolist() == [2, 3, -2, 0, 0]


def test_the_top_is_k_rows_or_a_percentile() -> None:
    scores = np.array([5.0, 4, 3, 3, 1, 0])

    def found(**rules: float) -> list[int]:
        return np.flatnonzero(top(scores, PaperRules(**rules))).tolist()  # type: ignore[arg-type]

    assert found(top_k=1) == [0]
    assert found(top_k=2) == [0, 1]
    # Rows 2 and 3 are tied.
    assert found(top_k=3) == found(top_k=4) == [0, 1, 2, 3]
    # The lowest does not stand out, however many are asked for.
    assert found(top_k=6) == found(top_k=99) == [0, 1, 2, 3, 4]
    assert found(percentile=100) == [0]
    # Of 6 rows the 80th percentile is the second.
    assert found(percentile=80) == [0, 1]
    assert found(percentile=80.1) == [0]
    assert found(percentile=0) == [0, 1, 2, 3, 4]


def test_k_takes_the_place_of_the_percentile() -> None:
    values = np.arange(1.0, 101)
    rules = PaperRules(top_k=7, percentile=50)
    assert top(values, rules).sum() == 7
    assert strong_and_unchanged(values, values, rules).sum() == 7


def test_the_k_strongest_of_the_unchanged() -> None:
    original = np.array([9.0, -8, 7, 1, 0, 5])
    transformed = np.array([2.0, -8, -7, 6, 0, 5])

    def flagged(k: int) -> list[int]:
        mask = strong_and_unchanged(original, transformed, PaperRules(top_k=k))
        return np.flatnonzero(mask).tolist()

    # Strength that survives: 2, 8, turned, 1, 0, 5. Row 2 is strong both times but
    # changes its sign: the K are of those that do not, as in Table 5.
    assert flagged(1) == [1]
    assert flagged(2) == [1, 5]
    assert flagged(3) == [0, 1, 5]
    assert flagged(4) == [0, 1, 3, 5]
    # Fewer where fewer are unchanged.
    assert flagged(5) == flagged(99) == [0, 1, 3, 5]


def test_strong_and_unchanged_by_percentile() -> None:
    values = np.arange(1.0, 101)
    # The 95th percentile of 1 … 100 is 95.05.
    mask = strong_and_unchanged(values, values)
    assert np.flatnonzero(mask).tolist() == [95, 96, 97, 98, 99]
    assert strong_and_unchanged(values, values, PaperRules(percentile=50)).sum() == 50
    # Strong before only, or after only, does not do; nor does a sign that turns.
    assert not strong_and_unchanged(values, values[::-1]).any()
    assert not strong_and_unchanged(values, -values).any()


@given(
    st.integers(1, 30).flatmap(
        lambda n: arrays(float, (2, n), elements=st.floats(-1e300, 1e300))
    ),
    st.integers(1, 40),
)
def test_flagged_rows_keep_strength(pair: np.ndarray, k: int) -> None:
    strength = unchanged_strength(*pair)
    for rules in (PaperRules(top_k=k), PaperRules(percentile=90)):
        assert (strength[strong_and_unchanged(*pair, rules)] > 0).all()
    # Tiny influences do not lose their sign to underflow.
    same = np.sign(pair[0]) == np.sign(pair[1])
    assert ((strength > 0) == (same & (pair[0] != 0))).all()
