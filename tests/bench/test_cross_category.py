from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from assay.bench.cross_category import best_threshold, cross_category
from assay.bench.metrics import agreement
from assay.errors import AssayError
from assay.paper_rules import PaperRules
from tests.detectors.conftest import make_evidence

# Ten rows of which the first two are poisons. All are equally strong before, so what
# survives is what is written here, in tenths of the largest influence.
BEFORE = np.full(10, 10.0)
KEPT = {
    "lexicon": [8, 7, 1, 1, 1, 1, 1, 1, 1, 1],
    "semantic": [9, 6, 5, 1, 1, 1, 1, 1, 1, 1],
    "structural": [9, 3, 8, 1, 1, 1, 1, 1, 1, 1],
}
EVIDENCE = make_evidence(
    influence={"original": BEFORE, **{c: np.array(v, float) for c, v in KEPT.items()}},
    categories={c: c for c in KEPT},
)


def test_each_category_is_judged_by_the_threshold_of_the_others() -> None:
    found = cross_category(EVIDENCE, [0, 1])
    folds = {f.category: f for f in found.folds}
    # Poisons of semantic and structural together: 9 9 6 3, others 8 5 1 …: at 6 there
    # are three of four among four flagged, an F1 of 3/4; at 3 four among six, 4/5.
    assert folds["lexicon"].threshold == pytest.approx(0.3)
    assert folds["lexicon"].fitted["f1"] == pytest.approx(4 / 5)
    assert folds["lexicon"].metrics == {"precision": 1, "recall": 1, "f1": 1}
    # Lexicon and structural: 8 7 9 3 and 8: at 3 four among five.
    assert folds["semantic"].threshold == pytest.approx(0.3)
    assert folds["semantic"].metrics == pytest.approx(
        {"precision": 2 / 3, "recall": 1, "f1": 4 / 5}
    )
    # Lexicon and semantic: 8 7 9 6, then 5: at 6 all.
    assert folds["structural"].threshold == pytest.approx(0.6)
    assert folds["structural"].fitted["f1"] == 1
    assert folds["structural"].metrics == {"precision": 0.5, "recall": 0.5, "f1": 0.5}
    f1 = [1, 4 / 5, 1 / 2]
    assert found.mean["f1"] == pytest.approx(np.mean(f1))
    assert found.deviation["f1"] == pytest.approx(np.std(f1))
    assert found.mean["precision"] == pytest.approx((1 + 2 / 3 + 1 / 2) / 3)
    assert found.mean["recall"] == pytest.approx((1 + 1 + 1 / 2) / 3)


def test_the_deviation_is_the_one_the_paper_prints() -> None:
    # Table 4's precisions; section 3.7 says "F1 std=0.052". Its F1 give 0.033.
    assert round(float(np.std([0.71, 0.83, 0.81])), 3) == 0.052
    assert round(float(np.std([0.82, 0.90, 0.87])), 3) == 0.033


def test_a_percentile_needs_no_poisons_to_be_fitted() -> None:
    rules = PaperRules(percentile=90)
    found = cross_category(EVIDENCE, [0, 1], rules, fit="percentile")
    for fold in found.folds:
        others = [v for c, v in KEPT.items() if c != fold.category]
        expected = np.percentile(np.concatenate(others), 90) / 10
        assert fold.threshold == pytest.approx(expected)


def test_a_row_is_scored_by_the_mean_of_a_category() -> None:
    sets = {"original": BEFORE, "a": BEFORE, "b": -BEFORE, "c": BEFORE}
    sets["c"] = BEFORE * np.arange(10) / 9
    evidence = make_evidence(influence=sets, categories={"a": "x", "b": "x", "c": "y"})
    folds = {f.category: f for f in cross_category(evidence, [9]).folds}
    # One transform keeps everything and the other turns it: nothing is left.
    assert folds["x"].threshold == pytest.approx(1.0)
    assert folds["x"].metrics["recall"] == 0
    assert folds["y"].threshold == pytest.approx(0.0)
    assert folds["y"].metrics["precision"] == pytest.approx(1 / 10)


@pytest.mark.parametrize(
    ("given_", "message"),
    [
        ({"poisoned": []}, "known poisons"),
        ({"fit": "guess"}, "unknown fit 'guess'; known: f1, percentile"),
        ({"evidence": {"original": BEFORE, "lexicon": BEFORE}}, "at least two"),
        ({"evidence": {"original": BEFORE}}, "needs influences"),
    ],
)
def test_what_cannot_be_evaluated(given_: dict[str, object], message: str) -> None:
    how = {"poisoned": [0], **given_}
    sets = how.pop("evidence", None)
    evidence = (
        EVIDENCE
        if sets is None
        else make_evidence(influence=sets, categories={"lexicon": "lexicon"})  # type: ignore[arg-type]
    )
    with pytest.raises(AssayError, match=message):
        cross_category(evidence, **how)  # type: ignore[arg-type]


@given(
    st.lists(
        st.tuples(st.integers(0, 5), st.booleans()), min_size=1, max_size=15
    ).filter(lambda rows: any(poison for _, poison in rows))
)
def test_no_other_threshold_is_better(rows: list[tuple[int, bool]]) -> None:
    scores = np.array([float(score) for score, _ in rows])
    poisoned = np.array([poison for _, poison in rows])

    def f1(threshold: float) -> float:
        flagged = np.flatnonzero(scores >= threshold).tolist()
        return agreement(flagged, np.flatnonzero(poisoned).tolist())["f1"]

    chosen = best_threshold(scores, poisoned)
    best = max(f1(t) for t in scores)
    assert f1(chosen) == pytest.approx(best)
    assert all(f1(t) < best - 1e-12 for t in scores if t > chosen)
