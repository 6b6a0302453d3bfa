from __future__ import annotations

from dataclasses import fields, replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from scipy.stats import median_abs_deviation

from assay.detectors import Evidence, evidence
from assay.detectors.evidence import (
    measured,
    response_groups,
    robust_z,
    simple,
    slices,
    top_percentile,
)
from assay.errors import AssayError
from tests.detectors.conftest import (
    OURS,
    TEXT_ONLY,
    flags,
    make_evidence,
    permuted,
    seeds_and_orders,
)


def measurements(evidence: Evidence) -> list[np.ndarray]:
    assert evidence.survival is not None
    found = [evidence.losses, evidence.hidden, evidence.survival]
    return [*found, *evidence.influence.values()]


every_detector = pytest.mark.parametrize("name", OURS)
measuring_detector = pytest.mark.parametrize(
    "name", [n for n in OURS if n not in TEXT_ONLY]
)


@every_detector
@settings(max_examples=15, deadline=None)
@given(seeds_and_orders)
def test_rows_may_come_in_any_order(
    name: str, seed_and_order: tuple[int, list[int]]
) -> None:
    seed, order = seed_and_order
    evidence = make_evidence(len(order), seed)
    one, two = OURS[name](evidence), OURS[name](permuted(evidence, order))
    np.testing.assert_allclose(two.scores, one.scores[order], atol=1e-9)
    np.testing.assert_array_equal(two.flagged, one.flagged[order])
    assert two.verdict == one.verdict


@every_detector
@pytest.mark.parametrize("scale", [2.0**-600, 1e-40, 3.0, 1e40, 2.0**600])
def test_influences_may_have_any_scale(name: str, scale: float) -> None:
    evidence = make_evidence(seed=4)
    larger = {n: scale * v for n, v in evidence.influence.items()}
    one, two = OURS[name](evidence), OURS[name](replace(evidence, influence=larger))
    np.testing.assert_allclose(two.scores, one.scores, rtol=1e-9)
    np.testing.assert_array_equal(two.flagged, one.flagged)


@every_detector
@pytest.mark.parametrize(
    "change",
    [
        {},
        {"losses": np.full(60, 0.3, np.float32)},
        {"hidden": np.full((60, 8), 0.1, np.float32)},
        {"responses": ["positive"] * 60},
        {"responses": ["odd one out"] + ["positive"] * 59},
        {"responses": [str(i) for i in range(60)]},
    ],
    ids=str,
)
@pytest.mark.filterwarnings("error")
def test_every_row_has_a_finite_score(name: str, change: dict[str, Any]) -> None:
    found = OURS[name](make_evidence(**change))
    assert found.name == name
    assert found.scores.shape == found.flagged.shape == (60,)
    assert found.scores.dtype == np.float64
    assert np.isfinite(found.scores).all()
    # Flags are for the suspicious: none is less so than the median row.
    assert (found.scores[found.flagged] >= np.median(found.scores)).all()


@every_detector
@pytest.mark.parametrize("value", [0.0, 0.1, -7e20])
@pytest.mark.filterwarnings("error")
def test_rows_that_are_all_alike_are_not_flagged(name: str, value: float) -> None:
    evidence = make_evidence(
        influence={n: np.full(60, value) for n in make_evidence().influence},
        losses=np.full(60, value, np.float32),
        hidden=np.full((60, 8), value, np.float32),
        survival=np.full(60, value),
    )
    found = OURS[name](evidence)
    assert flags(found) == []
    assert found.verdict == "clean"
    assert np.ptp(found.scores) == 0


@measuring_detector
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_rows_that_could_not_be_measured_are_not_flagged(
    name: str, value: float, caplog: pytest.LogCaptureFixture
) -> None:
    evidence = make_evidence(seed=2)
    for array in measurements(evidence):
        array[[3, 4]] = value
    found = OURS[name](evidence)
    assert np.isfinite(found.scores).all()
    assert not found.flagged[[3, 4]].any()
    assert "2 rows have no finite" in caplog.text
    # The others are judged as they were without these two.
    if name in (
        "high-loss",
        "spectral",
        "activation-clustering",
        "hidden-similarity",
    ):
        others = [i for i in range(60) if i not in (3, 4)]
        without = OURS[name](permuted(evidence, others))
        np.testing.assert_allclose(found.scores[others], without.scores)
        assert found.scores[3] == found.scores.min()


@measuring_detector
def test_a_model_that_measures_nothing_is_not_clean(name: str) -> None:
    evidence = make_evidence()
    for array in measurements(evidence):
        array[:] = np.nan
    with pytest.raises(AssayError, match="no row has finite"):
        OURS[name](evidence)


@every_detector
@pytest.mark.parametrize("rows", [2, 3])
def test_few_rows(name: str, rows: int) -> None:
    assert OURS[name](make_evidence(rows)).scores.shape == (rows,)


def test_no_detector_can_see_the_poison() -> None:
    assert {f.name for f in fields(Evidence)} == {
        "texts",
        "responses",
        "losses",
        "features",
        "hidden",
        "influence",
        "survival",
        "categories",
    }


def test_robust_z() -> None:
    values = np.array([1.0, 2, 3, 4, 100])
    expected = (values - 3) / median_abs_deviation(values, scale="normal")
    np.testing.assert_allclose(robust_z(values), expected, rtol=1e-4)


def test_robust_z_when_most_values_are_equal() -> None:
    # Mean absolute deviation: 3 of 4 values 0, so the unit is 1.2533 · 8 / 4.
    np.testing.assert_allclose(robust_z(np.array([0.0, 0, 0, 8]))[3], 8 / 2.5066)
    # 40 % above is no outlier, 1 % is.
    assert robust_z(np.repeat([0.0, 1], [60, 40])).max() < 3.5
    assert robust_z(np.repeat([0.0, 1], [99, 1])).max() > 3.5


def test_robust_z_ignores_rounding() -> None:
    values = np.full(50, 0.1)
    values[0] += 1e-16
    assert not robust_z(values).any()
    assert robust_z(1e-30 * np.arange(9.0))[-1] == pytest.approx(
        robust_z(np.arange(9.0))[-1]
    )


def test_response_groups() -> None:
    groups = response_groups(["b", "a", "b", "c"])
    assert [g.tolist() for g in groups] == [[0, 2], [1], [3]]
    many = [str(i) for i in range(21)]
    assert [g.tolist() for g in response_groups(many)] == [list(range(21))]
    assert len(response_groups(many[:20])) == 20


def test_measured_and_top_percentile() -> None:
    array = np.float32([[1, 2], [np.nan, 1], [np.inf, -np.inf], [3e38, 3e38]])
    assert measured(array, "x").tolist() == [
        True,
        False,
        False,
        True,
    ]
    assert measured(np.array([0.0, np.nan]), "x").tolist() == [True, False]
    assert top_percentile(np.arange(101.0), 95).nonzero()[0].tolist() == [
        *range(95, 101)
    ]
    # Most rows at the percentile and at the lowest: they are not the top.
    assert top_percentile(np.repeat([0.0, 1], [97, 3]), 95).sum() == 3
    assert not top_percentile(np.zeros(9), 95).any()


def test_slices() -> None:
    assert list(slices(5, 10, 25)) == [slice(0, 2), slice(2, 4), slice(4, 5)]
    # An item that is over the budget is taken all the same; no bytes are no division.
    assert list(slices(2, 10, 1)) == [slice(0, 1), slice(1, 2)]
    assert list(slices(2, 0, 1)) == [slice(0, 1), slice(1, 2)]
    assert list(slices(0, 10, 25)) == []


def test_measured_goes_through_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    array = np.random.default_rng(0).normal(size=(50, 7)).astype(np.float32)
    array[[0, 17, 49], [6, 0, 3]] = np.nan
    array.flags.writeable = False
    monkeypatch.setattr(evidence, "BLOCK", 3 * 28 + 1)
    assert np.flatnonzero(~measured(array, "x")).tolist() == [0, 17, 49]
    with pytest.raises(AssayError, match="no row has finite x"):
        measured(array[:0], "x")


def test_simple() -> None:
    found = simple("x", np.array([1.0, 2, 4]), np.array([False, True, True]))
    assert found.verdict == "suspicious"
    assert found.scores.tolist() == [1, 2, 4]
    assert list(found.candidates) == []
    assert simple("x", np.ones(2), np.zeros(2, bool)).verdict == "clean"
