from __future__ import annotations

import numpy as np
import pytest
from sklearn.decomposition import PCA

from assay.detectors import components
from assay.detectors.spectral import spectral
from tests.detectors.conftest import flags, make_evidence


def test_score_is_the_squared_top_component_of_a_response() -> None:
    evidence = make_evidence(seed=3)
    found = spectral(evidence)
    for rows in (np.arange(0, 60, 2), np.arange(1, 60, 2)):
        top = PCA(1).fit_transform(evidence.hidden[rows].astype(float))[:, 0] ** 2
        np.testing.assert_allclose(found.scores[rows], top / top.mean())


def test_planted_rows_are_flagged_and_ranked_first() -> None:
    evidence = make_evidence(seed=1)
    # Of one response; the other response's rows lie elsewhere without being suspect.
    evidence.hidden[[2, 4, 6]] += 8
    evidence.hidden[1::2] -= 30
    found = spectral(evidence)
    assert {2, 4, 6} <= set(flags(found))
    assert set(np.argsort(-found.scores)[:3]) == {2, 4, 6}


def test_small_groups_come_last() -> None:
    evidence = make_evidence(responses=["rare"] * 3 + ["positive"] * 57)
    found = spectral(evidence)
    assert found.scores[:3].tolist() == [0, 0, 0]
    assert (found.scores[3:] > 0).all()


def test_groups_over_the_budget_have_the_same_scores(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    evidence = make_evidence(
        300, hidden=np.random.default_rng(0).normal(size=(300, 90)).astype(np.float32)
    )
    evidence.hidden[:20] += 5
    held = spectral(evidence)
    monkeypatch.setattr(components, "HELD", 1)
    monkeypatch.setattr(components, "BLOCK", 9000)
    streamed = spectral(evidence)
    np.testing.assert_allclose(streamed.scores, held.scores, rtol=1e-3, atol=1e-4)
    assert flags(streamed) == flags(held)
