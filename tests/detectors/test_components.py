from __future__ import annotations

import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from assay.detectors import components, evidence
from assay.detectors.components import principal_components, streamed_components
from assay.detectors.evidence import measured

# Processes, whole scans or a browser: more than a minute in all.
pytestmark = pytest.mark.slow


def by_svd(values: NDArray[np.float32], count: int, *, unit: bool = True) -> NDArray:
    rows = values.astype(np.float64)
    if unit:
        rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    u, s, _ = np.linalg.svd(rows - rows.mean(0), full_matrices=False)
    return u[:, :count] * s[:count]


def same(found: NDArray, exact: NDArray, atol: float) -> None:
    """Whether columns are equal but for their sign."""
    sign = np.sign((found * exact).sum(0))
    np.testing.assert_allclose(found * sign, exact, atol=atol)


def low_rank(rows: int, columns: int, seed: int = 0) -> NDArray[np.float32]:
    """Ten strong directions, a common one and noise, in rows of many lengths."""
    rng = np.random.default_rng(seed)
    strength = np.linspace(3, 1, 10)
    signal = rng.normal(size=(rows, 10)) * strength @ rng.normal(size=(10, columns))
    noise = rng.normal(size=(rows, columns)) + 2 * rng.normal(size=columns)
    lengths = rng.gamma(1, size=(rows, 1))
    return ((signal + noise) * lengths).astype(np.float32)


@pytest.mark.parametrize("budget", [8 * 30 * 7, 2**29])
def test_principal_components_equal_the_svd(
    budget: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(components, "BUDGET", budget)
    monkeypatch.setattr(components, "BLOCK", budget // 4)
    rng = np.random.default_rng(0)
    features = rng.normal(size=(40, 50)) * rng.gamma(1, size=(40, 1))
    features = features.astype(np.float32)
    same(principal_components(features[:30], 5), by_svd(features[:30], 5), 1e-9)
    rows = rng.permutation(40)[:30]
    same(principal_components(features, 5, rows), by_svd(features[rows], 5), 1e-9)


def test_a_group_held_at_once_is_treated_as_ever() -> None:
    # FastICA, which has to converge on nothing in noise, makes much of a last bit.
    features = low_rank(60, 90)
    rows = features.astype(np.float64)
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    rows -= rows.mean(0)
    values, vectors = np.linalg.eigh(rows @ rows.T)
    expected = vectors[:, ::-1][:, :5] * np.sqrt(values[::-1][:5])
    np.testing.assert_array_equal(principal_components(features, 5), expected)


def test_length_of_a_gradient_does_not_matter() -> None:
    features = np.random.default_rng(0).normal(size=(30, 50)).astype(np.float32)
    scaled = features * np.linspace(0.1, 10, 30, dtype=np.float32)[:, None]
    one, other = principal_components(features, 4), principal_components(scaled, 4)
    np.testing.assert_allclose(np.abs(one), np.abs(other), atol=1e-5)


@pytest.mark.parametrize("unit", [True, False])
def test_streamed_components_equal_the_svd(
    unit: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(components, "BLOCK", 4 * 900 * 7)
    values = low_rank(500, 900)
    rows = np.random.default_rng(1).permutation(500)[:400]
    exact = by_svd(values[rows], 10, unit=unit)
    found = streamed_components(values, 10, rows, unit=unit)
    assert found.shape == (400, 10)
    assert found.dtype == np.float64
    same(found, exact, 1e-4 * np.abs(exact).max())
    again = streamed_components(values, 10, rows, unit=unit)
    np.testing.assert_array_equal(again, found)
    other = streamed_components(values, 10, rows, unit=unit, seed=1)
    assert not np.array_equal(other, found)
    same(other, exact, 1e-4 * np.abs(exact).max())


def test_a_few_rows_apart_are_seen_through_noise() -> None:
    rng = np.random.default_rng(0)
    values = rng.normal(size=(1500, 2000)).astype(np.float32)
    values[:20] += 0.5 * rng.normal(size=2000)
    exact = principal_components(values, 10)[:, :1]
    found = streamed_components(values, 10, np.arange(1500), unit=True)[:, :1]
    # Noise has no further components to find.
    assert abs(np.corrcoef(found.T, exact.T)[0, 1]) > 0.999


def test_large_groups_are_streamed(monkeypatch: pytest.MonkeyPatch) -> None:
    values = low_rank(300, 200)
    rows = np.arange(0, 300, 2)
    monkeypatch.setattr(components, "GRAM_ROWS", 149)
    np.testing.assert_array_equal(
        principal_components(values, 4, rows, seed=3),
        streamed_components(values, 4, rows, unit=True, seed=3),
    )


@pytest.mark.parametrize("shape", [(40, 6), (6, 40), (90, 90)])
def test_few_rows_or_columns_are_streamed_exactly(shape: tuple[int, int]) -> None:
    values = np.random.default_rng(0).normal(size=shape).astype(np.float32)
    count = min(4, shape[0] - 2)
    found = streamed_components(values, count, np.arange(shape[0]), unit=True)
    same(found, by_svd(values, count), 1e-5)


@pytest.mark.parametrize("unit", [True, False])
@pytest.mark.filterwarnings("error")
def test_rows_without_differences_have_no_components(unit: bool) -> None:
    direction = np.random.default_rng(0).normal(size=5000).astype(np.float32)
    values = np.tile(direction, (300, 1))
    values[0] = values[1]
    if unit:
        values *= np.linspace(1e-10, 1e30, 300, dtype=np.float32)[:, None]
    found = streamed_components(values, 10, np.arange(300), unit=unit)
    # What gradient geometry takes for none.
    assert (found.std(0) < 1e-6).all()
    zeros = streamed_components(0 * values, 10, np.arange(300), unit=unit)
    assert not zeros.any()


@pytest.mark.parametrize("values", [3e38, 1e-44])
@pytest.mark.filterwarnings("error")
def test_any_finite_row_may_be_streamed(values: float) -> None:
    features = np.random.default_rng(0).normal(size=(60, 30)).astype(np.float32)
    features[7] = values
    assert np.isfinite(streamed_components(features, 5, np.arange(60), unit=True)).all()


def test_an_array_larger_than_memory_is_never_held(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shape = (3000, 20_000)
    made = np.lib.format.open_memmap(tmp_path / "f.npy", "w+", np.float32, shape)
    # The rest is holes in a sparse file.
    made[:, :20] = low_rank(3000, 20)
    del made
    features = np.load(tmp_path / "f.npy", mmap_mode="r")
    rows = np.arange(0, 3000, 2)
    budget = 2**22
    monkeypatch.setattr(evidence, "BLOCK", budget)
    monkeypatch.setattr(components, "BLOCK", budget)
    monkeypatch.setattr(components, "BUDGET", budget)

    def peak() -> float:
        """Largest memory since last asked, in arrays."""
        held = tracemalloc.get_traced_memory()[1]
        tracemalloc.reset_peak()
        return held / features.nbytes

    tracemalloc.start()
    try:
        assert measured(features, "gradient").all()
        assert peak() < 0.01
        exact = principal_components(features, 5, rows)
        assert peak() < 0.25
        monkeypatch.setattr(components, "GRAM_ROWS", 100)
        found = principal_components(features, 5, rows)
        assert peak() < 0.35
    finally:
        tracemalloc.stop()
    same(found, exact, 1e-4)
