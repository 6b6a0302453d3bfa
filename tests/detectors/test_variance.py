from __future__ import annotations

import numpy as np

from assay.detectors.variance import low_variance, variance
from assay.paper_rules import PaperRules
from tests.detectors.conftest import flags, make_evidence, one_hot

EVIDENCE = make_evidence(
    influence={
        "original": [50, -3, 8, 1],
        "a": [1, -1, 1, -1],
        "b": [20, -20, -20, 20],
    }
)


def test_variance_is_over_the_transforms_alone() -> None:
    # Without scaling, in units of the largest influence of all, 50.
    found = variance(EVIDENCE)
    expected = np.array([9.5, 9.5, 10.5, 10.5]) ** 2 / 50**2
    np.testing.assert_allclose(found.scores, expected, rtol=1e-12)


def test_variance_of_deviations() -> None:
    found = variance(EVIDENCE, PaperRules(scaling="deviations"))
    # In deviations: a = 1 -1 1 -1, b = 1 -1 -1 1.
    np.testing.assert_allclose(found.scores, [0, 0, 1, 1], atol=1e-12)


def test_the_k_of_highest_variance_are_flagged() -> None:
    # The paper's 50 of 1,000, by K and by the default percentile.
    evidence = make_evidence(1000)
    found = variance(evidence, PaperRules(top_k=50))
    sets = np.stack([v for n, v in evidence.influence.items() if n != "original"])
    assert flags(found) == sorted(np.argsort(-sets.var(axis=0))[:50])
    assert flags(variance(evidence)) == flags(found)
    assert len(flags(variance(evidence, PaperRules(top_k=49)))) == 49


def test_both_directions_flag_their_top() -> None:
    rng = np.random.default_rng(0)
    a, b, noise = rng.normal(size=(3, 100))
    a[[3, 4]] = 0
    sets = {"original": noise, "a": a + one_hot(100, 3, 4, value=9.0), "b": b}
    sets["b"][[3, 4]] = -9
    evidence = make_evidence(influence=sets)
    high, low = variance(evidence), low_variance(evidence)
    assert {3, 4} < set(flags(high))
    assert len(flags(high)) == len(flags(low)) == 5
    assert not set(flags(high)) & set(flags(low))
    np.testing.assert_array_equal(low.scores, -high.scores)
