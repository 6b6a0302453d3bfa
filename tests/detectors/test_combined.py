from __future__ import annotations

import importlib

import numpy as np
import pytest

from assay.detectors.combined import combined
from assay.detectors.evidence import simple
from tests.detectors.conftest import CATEGORIES, flags, make_evidence, one_hot

# The package gives the function this name.
module = importlib.import_module("assay.detectors.combined")


def test_mean_rank_and_two_flags(monkeypatch: pytest.MonkeyPatch) -> None:
    rules = {
        "single_transform": ([10.0, 20, 30, 40], [0, 0, 1, 1]),
        "variance": ([1.0, 1, 9, 1], [0, 1, 1, 0]),
        "voting": ([0.4, 0.3, 0.2, 0.1], [0, 1, 1, 0]),
    }
    for name, (scores, flagged) in rules.items():
        answer = simple(name, np.array(scores), np.array(flagged, bool))
        monkeypatch.setattr(module, name, lambda _, answer=answer: answer)
    found = combined(make_evidence(4))
    # Ranks 1 2 3 4, 2 2 4 2 and 4 3 2 1.
    np.testing.assert_allclose(found.scores, [7 / 12, 7 / 12, 9 / 12, 7 / 12])
    assert flags(found) == [1, 2]


def test_a_row_that_two_rules_flag() -> None:
    sets = {n: one_hot(100, 5) for n in ("original", *CATEGORIES)}
    # Only variance looks at row 6.
    sets["antonym-flip"] = one_hot(100, 5, 6)
    found = combined(make_evidence(influence=sets))
    assert flags(found) == [5]
    assert int(found.scores.argmax()) == 5
