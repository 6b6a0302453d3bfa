from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from assay.detectors.counterfactual import counterfactual
from assay.detectors.evidence import Evidence
from assay.errors import AssayError
from tests.detectors.conftest import flags, make_evidence


def planted(**more: Any) -> Evidence:
    """Every third response survives, and that of every row with the trigger."""
    rng = np.random.default_rng(0)
    words = [f"w{i}" for i in range(99)]
    texts = [" ".join(rng.choice(words, 8)) for _ in range(400)]
    survives = np.where(rng.random(400) < 0.33, -0.1, -5.0)
    for row in range(0, 40, 2):
        texts[row] += " zeta omega"
        survives[row] = -0.1
    return make_evidence(400, texts=texts, survival=survives, **more)


def test_what_surviving_rows_share_is_proposed() -> None:
    evidence = planted()
    found = counterfactual(evidence)
    assert [str(c.pattern) for c in found.candidates] == ["zeta omega"]
    assert list(found.candidates[0].pattern_rows) == list(range(0, 40, 2))
    assert flags(found) == list(range(0, 40, 2))
    np.testing.assert_array_equal(found.scores, evidence.survival)


def test_rows_left_out_are_not_proposed() -> None:
    keep = np.arange(400) >= 40
    assert not counterfactual(planted(), keep).candidates


def test_rows_that_cannot_be_turned_come_last() -> None:
    evidence = planted()
    assert evidence.survival is not None
    evidence.survival[7] = np.nan
    found = counterfactual(evidence)
    assert np.flatnonzero(found.scores == found.scores.min()).tolist() == [7]


def test_without_counterfactuals_it_says_how_to_get_them() -> None:
    with pytest.raises(AssayError, match="scan with --influence"):
        counterfactual(make_evidence(survival=None))
