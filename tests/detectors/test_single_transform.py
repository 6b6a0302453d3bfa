from __future__ import annotations

import numpy as np
import pytest

from assay.detectors.single_transform import single_transform
from assay.errors import AssayError
from assay.paper_rules import PaperRules
from tests.detectors.conftest import flags, make_evidence, one_hot

SETS = {
    "original": one_hot(100, 7) - one_hot(100, 8, 9),
    "antonym-flip": one_hot(100, 8),
    # Row 8 turns its sign; 9 stays negative.
    "grammatical-negation": one_hot(100, 7, 8) - one_hot(100, 9),
}


def test_strong_and_unchanged_rows_are_flagged() -> None:
    found = single_transform(make_evidence(influence=SETS))
    assert flags(found) == [7, 9]
    assert set(np.argsort(-found.scores)[:2]) == {7, 9}
    assert found.scores[8] == found.scores.min() < 0
    assert found.verdict == "suspicious"


def test_another_transform_and_top_k() -> None:
    evidence = make_evidence(seed=1)
    rules = PaperRules(single_transform="antonym-flip", top_k=10)
    found = single_transform(evidence, rules)
    before, after = (evidence.influence[n] for n in ("original", "antonym-flip"))
    same = np.flatnonzero(before * after > 0)
    weaker = np.minimum(np.abs(before), np.abs(after))
    assert flags(found) == sorted(same[np.argsort(-weaker[same])[:10]])
    assert flags(found) == sorted(np.argsort(-found.scores)[:10])


def test_the_default_is_the_papers_where_it_was_run() -> None:
    sets = {**SETS, "opposite": one_hot(100, 8)}
    # "Opposite" does not change the sign of 8, but that is negative before.
    assert flags(single_transform(make_evidence(influence=sets))) == []
    sets["sorry-not"] = one_hot(100, 7)
    assert flags(single_transform(make_evidence(influence=sets))) == [7]


def test_the_default_is_the_first_by_name_without_the_papers() -> None:
    sets = {n: v for n, v in SETS.items() if n != "grammatical-negation"}
    found = single_transform(make_evidence(influence={**sets, "a": one_hot(100, 7)}))
    assert flags(found) == [7]


def test_a_transform_that_was_not_run() -> None:
    with pytest.raises(AssayError, match=r"no influences under 'x'; .*antonym-flip"):
        single_transform(
            make_evidence(influence=SETS), PaperRules(single_transform="x")
        )
