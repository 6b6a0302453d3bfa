from __future__ import annotations

import numpy as np
import pytest

from assay.detectors.activation_clustering import activation_clustering
from tests.detectors.conftest import flags, make_evidence, permuted


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


def test_clusters_of_noise_do_not_depend_on_the_order_of_rows() -> None:
    # Where no split is clear, k-means from other first centres finds another.
    evidence = make_evidence(200, responses=["positive"] * 200)
    one = activation_clustering(evidence).scores
    for seed in range(3):
        order = np.random.default_rng(seed).permutation(200)
        two = activation_clustering(permuted(evidence, order.tolist())).scores
        np.testing.assert_array_equal(two, one[order])
