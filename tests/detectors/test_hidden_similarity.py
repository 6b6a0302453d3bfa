from __future__ import annotations

import sys

import numpy as np
import pytest
from scipy.spatial.distance import cosine

from assay.detectors.hidden_similarity import hidden_similarity
from tests.detectors.conftest import flags, make_evidence


def test_score_is_the_cosine_distance_from_the_mean_of_the_response() -> None:
    evidence = make_evidence(seed=3)
    found = hidden_similarity(evidence)
    for rows in (range(0, 60, 2), range(1, 60, 2)):
        mean = evidence.hidden[list(rows)].mean(0)
        expected = [cosine(evidence.hidden[i], mean) for i in rows]
        np.testing.assert_allclose(found.scores[list(rows)], expected, rtol=1e-4)


def test_rows_that_point_elsewhere_are_flagged_whatever_their_length() -> None:
    hidden = np.random.default_rng(0).normal(size=(60, 8)).astype(np.float32) + 9
    # The other response's rows lie elsewhere without being suspect.
    hidden[1::2] *= -1
    hidden[[2, 4, 6], :4] *= -1
    hidden[10] *= 50
    found = hidden_similarity(make_evidence(hidden=hidden))
    assert set(flags(found)) == {2, 4, 6}


def test_rows_in_parts_have_the_same_scores(monkeypatch: pytest.MonkeyPatch) -> None:
    evidence = make_evidence(seed=1)
    whole = hidden_similarity(evidence).scores
    # The package has a function of the module's name.
    monkeypatch.setattr(sys.modules[hidden_similarity.__module__], "BLOCK", 200)
    np.testing.assert_allclose(hidden_similarity(evidence).scores, whole)


def test_small_groups_come_last() -> None:
    evidence = make_evidence(responses=["rare"] * 3 + ["positive"] * 57)
    found = hidden_similarity(evidence)
    assert found.scores[:3].tolist() == [-1, -1, -1]
    assert (found.scores[3:] >= 0).all()
