from __future__ import annotations

import importlib

import numpy as np
import pytest
from sklearn.metrics import silhouette_samples

from assay.detectors import components
from assay.detectors.activation_clustering import activation_clustering
from tests.detectors.conftest import flags, make_evidence, permuted

# The package gives the function this name.
module = importlib.import_module("assay.detectors.activation_clustering")


def test_the_small_cluster_of_a_response_is_flagged() -> None:
    evidence = make_evidence(seed=1)
    evidence.hidden[:20:4] += 15
    found = activation_clustering(evidence)
    # Among the "negative" rows nothing is planted, and noise splits about evenly.
    assert set(range(0, 20, 4)) == {i for i in flags(found) if i % 2 == 0}
    assert (found.scores[:20:4] > 0.5).all()
    even = np.setdiff1d(np.arange(0, 60, 2), np.arange(0, 20, 4))
    assert (found.scores[even] < 0).all()


@pytest.mark.parametrize(("size", "flagged"), [(20, True), (21, False)])
def test_a_cluster_of_35_percent_is_not_small(size: int, flagged: bool) -> None:
    evidence = make_evidence(responses=["positive"] * 60, seed=2)
    evidence.hidden[:size] += 15
    found = activation_clustering(evidence)
    assert flags(found) == (list(range(size)) if flagged else [])
    assert (found.scores[:size] > 0).all()


def test_small_groups_come_last() -> None:
    evidence = make_evidence(responses=["rare"] * 19 + ["positive"] * 41)
    scores = activation_clustering(evidence).scores
    assert (scores[:19] == -1).all()
    assert (scores[19:] > -1).all()


@pytest.mark.parametrize("alike", [0, 8])
def test_clusters_of_noise_do_not_depend_on_the_order_of_rows(alike: int) -> None:
    # Where no split is clear, k-means from other first centres finds another.
    hidden = np.random.default_rng(0).normal(size=(200, 16)).astype(np.float32)
    hidden[:, :alike] = 1
    evidence = make_evidence(200, responses=["positive"] * 200, hidden=hidden)
    one = activation_clustering(evidence).scores
    for seed in range(3):
        order = np.random.default_rng(seed).permutation(200)
        two = activation_clustering(permuted(evidence, order.tolist())).scores
        np.testing.assert_array_equal(two, one[order])


def test_large_groups_are_split_as_small_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    hidden = np.random.default_rng(0).normal(size=(600, 40)).astype(np.float32)
    hidden[:60:2] += 3
    evidence = make_evidence(600, hidden=hidden)
    held = activation_clustering(evidence)
    monkeypatch.setattr(components, "HELD", 1)
    monkeypatch.setattr(components, "BLOCK", 4000)
    streamed = activation_clustering(evidence)
    even = slice(0, None, 2)
    np.testing.assert_allclose(streamed.scores[even], held.scores[even], atol=0.01)
    assert flags(streamed)[:30] == flags(held)[:30] == list(range(0, 60, 2))
    # Also with sampled silhouettes.
    monkeypatch.setattr(module, "EXACT", 100)
    monkeypatch.setattr(module, "SAMPLE", 100)
    sampled = activation_clustering(evidence)
    np.testing.assert_array_equal(sampled.flagged, streamed.flagged)
    np.testing.assert_allclose(sampled.scores, streamed.scores, atol=0.1)


@pytest.mark.parametrize("sample", [20, 1000])
def test_sampled_silhouettes_estimate_the_exact_ones(
    sample: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    rng = np.random.default_rng(0)
    states = rng.normal(size=(500, 10))
    labels = np.repeat([1, 0], [30, 470])
    states[:30] += 2
    alone = np.where(np.arange(500) == 3, 1, 0)
    monkeypatch.setattr(module, "EXACT", 0)
    monkeypatch.setattr(module, "BLOCK", 9000)
    monkeypatch.setattr(module, "SAMPLE", sample)
    for split in (labels, alone):
        found = module._silhouettes(states, split, 0)
        exact = silhouette_samples(states, split)
        # All rows are in the larger sample.
        np.testing.assert_allclose(found, exact, atol=0.15 if sample == 20 else 1e-9)
    assert found[3] == 0
