from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from assay.detectors.paper import scaled, strong_and_unchanged, unchanged_strength
from assay.errors import AssayError
from tests.detectors.conftest import make_evidence


def test_influences_are_in_standard_deviations() -> None:
    original, sets = scaled(
        make_evidence(influence={"original": [1, -1, 1, -1], "t": [0, 20, 0, 20]})
    )
    assert original.tolist() == [1, -1, 1, -1]
    assert sets["t"].tolist() == [0, 2, 0, 2]


@pytest.mark.parametrize("names", [[], ["original"], ["antonym-flip"]])
def test_rules_need_both_sets(names: list[str]) -> None:
    with pytest.raises(AssayError, match="original and transformed"):
        scaled(make_evidence(influence={n: [1, 2] for n in names}))


def test_unchanged_strength() -> None:
    strength = unchanged_strength(
        np.array([3.0, -3, 3, 3, 0]), np.array([2.0, -4, -2, 0, 5])
    )
    assert strength.tolist() == [2, 3, -2, 0, 0]


def test_strong_and_unchanged_by_top_k() -> None:
    original = np.array([9.0, -8, 7, 1, 0])
    transformed = np.array([9.0, -8, -7, 6, 0])

    def flagged(k: int) -> list[int]:
        mask = strong_and_unchanged(original, transformed, top_k=k)
        return np.flatnonzero(mask).tolist()

    assert flagged(1) == [0]
    assert flagged(2) == [0, 1]
    # Row 2 is strong both times but changes its sign.
    assert flagged(3) == [0, 1]
    assert flagged(4) == [0, 1, 3]
    # More rows than there are: all but the one without influence.
    assert flagged(5) == flagged(99) == [0, 1, 3]


@pytest.mark.parametrize("k", [0, -1])
def test_top_k_has_to_be_positive(k: int) -> None:
    with pytest.raises(AssayError, match=f"top_k is {k}"):
        strong_and_unchanged(np.ones(3), np.ones(3), top_k=k)


def test_strong_and_unchanged_by_percentile() -> None:
    values = np.arange(1.0, 101)
    # The 95th percentile of 1 … 100 is 95.05.
    mask = strong_and_unchanged(values, values)
    assert np.flatnonzero(mask).tolist() == [95, 96, 97, 98, 99]
    assert strong_and_unchanged(values, values, percentile=50).sum() == 50
    # Strong before only, or after only, does not do.
    assert not strong_and_unchanged(values, values[::-1]).any()


@given(
    st.integers(1, 30).flatmap(
        lambda n: arrays(float, (2, n), elements=st.floats(-1e300, 1e300))
    ),
    st.integers(1, 40),
)
def test_flagged_rows_keep_strength(pair: np.ndarray, k: int) -> None:
    mask = strong_and_unchanged(*pair, top_k=k)
    strength = unchanged_strength(*pair)
    assert (strength[mask] > 0).all()
    # Tiny influences do not lose their sign to underflow.
    same = np.sign(pair[0]) == np.sign(pair[1])
    assert ((strength > 0) == (same & (pair[0] != 0))).all()
