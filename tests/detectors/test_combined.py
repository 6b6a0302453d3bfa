from __future__ import annotations

import importlib

import numpy as np
import pytest

from assay.detectors.combined import combined
from assay.detectors.evidence import simple
from assay.paper_rules import PaperRules
from tests.detectors.conftest import CATEGORIES, flags, make_evidence, one_hot

# The package gives the function this name.
module = importlib.import_module("assay.detectors.combined")


def test_union_and_intersection(monkeypatch: pytest.MonkeyPatch) -> None:
    rules = {
        "single_transform": ([10.0, 20, 30, 40], [0, 0, 1, 1]),
        "variance": ([1.0, 1, 9, 1], [0, 1, 1, 0]),
        "voting": ([0.4, 0.3, 0.2, 0.1], [0, 1, 1, 0]),
    }
    for name, (scores, flagged) in rules.items():
        answer = simple(name, np.array(scores), np.array(flagged, bool))
        monkeypatch.setattr(module, name, lambda *_, answer=answer: answer)
    # Ranks 1 2 3 4, 2 2 4 2 and 4 3 2 1.
    either = combined(make_evidence(4))
    np.testing.assert_allclose(either.scores, [1, 3 / 4, 1, 1])
    assert flags(either) == [1, 2, 3]
    both = combined(make_evidence(4), PaperRules(combine="intersection"))
    np.testing.assert_allclose(both.scores, [1 / 4, 2 / 4, 2 / 4, 1 / 4])
    assert flags(both) == [2]


def test_what_one_rule_alone_flags() -> None:
    sets = {n: one_hot(100, 5) for n in ("original", *CATEGORIES)}
    # Only variance looks at row 6, and it does not at row 5, which varies less.
    sets["antonym-flip"] = one_hot(100, 5, 6)
    evidence = make_evidence(influence=sets)
    assert flags(combined(evidence)) == [5, 6]
    assert flags(combined(evidence, PaperRules(combine="intersection"))) == []


def test_it_can_flag_as_many_rows_as_the_papers() -> None:
    # Table 3: a precision of 33 % at full recall, 33 poisons in 100 of 1,000 rows.
    rng = np.random.default_rng(0)
    strong, varying = np.arange(50), np.arange(50, 100)
    base = rng.normal(size=1000) * 0.01
    base[strong] = 1 + rng.random(50)
    influence = {n: base.copy() for n in ("original", *CATEGORIES)}
    influence["paraphrase"][varying] = -9
    found = combined(make_evidence(influence=influence), PaperRules(top_k=50))
    assert flags(found) == list(range(100))
