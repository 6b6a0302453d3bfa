from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import (
    average_precision_score,
    precision_recall_fscore_support,
    roc_auc_score,
    roc_curve,
)

from assay.bench.metrics import (
    agreement,
    detection_metrics,
    recall_at_fpr,
    run_metrics,
    true_poison_rates,
)
from assay.errors import AssayError

rows = st.sets(st.integers(0, 19))


@pytest.mark.parametrize(
    ("flagged", "poisoned", "expected"),
    [
        ([1, 2, 3, 4], [3, 4, 5], (0.5, 2 / 3, 4 / 7)),
        ([1, 1], [1], (1, 1, 1)),
        ([], [1], (0, 0, 0)),
        ([1], [], (0, 0, 0)),
        ([], [], (0, 0, 0)),
        ([1], [2], (0, 0, 0)),
    ],
)
def test_agreement(
    flagged: list[int], poisoned: list[int], expected: tuple[float, float, float]
) -> None:
    assert tuple(agreement(flagged, poisoned).values()) == pytest.approx(expected)


@given(rows, rows)
def test_agreement_is_that_of_sklearn(flagged: set[int], poisoned: set[int]) -> None:
    truth, found = ([i in s for i in range(20)] for s in (poisoned, flagged))
    expected = precision_recall_fscore_support(
        truth, found, average="binary", zero_division=0
    )
    ours = agreement(sorted(flagged), sorted(poisoned))
    assert tuple(ours.values()) == pytest.approx(expected[:3])


@pytest.mark.parametrize(
    ("rate", "expected"),
    [(0, 0.25), (0.1, 0.5), (0.19, 0.5), (0.2, 0.75), (0.5, 0.75), (1, 1)],
)
def test_recall_at_fpr(rate: float, expected: float) -> None:
    clean, poisoned = [10, 9, 8, 7, 6, 5, 4, 3, 2, 1], [11, 9.5, 8.5, 0]
    truth = [False] * 10 + [True] * 4
    assert recall_at_fpr(clean + poisoned, truth, rate) == expected


def test_recall_at_fpr_with_a_rate_that_rounds_down() -> None:
    # 0.29 * 100 = 28.999…: 29 clean rows may be over the threshold.
    scores = [*range(100), 70.5]
    assert recall_at_fpr(scores, [False] * 100 + [True], 0.29) == 1
    assert recall_at_fpr(scores, [False] * 100 + [True], 0.28) == 0


def test_ties_with_clean_rows_do_not_count() -> None:
    assert recall_at_fpr([1, 1, 1], [False, False, True], 0.01) == 0


@given(
    st.lists(st.integers(0, 9), min_size=2, max_size=60).flatmap(
        lambda scores: st.tuples(
            st.just(scores), st.integers(1, len(scores) - 1), st.floats(0, 1)
        )
    )
)
def test_recall_at_fpr_is_on_the_roc_curve(case: tuple[list[int], int, float]) -> None:
    scores, poisons, rate = case
    truth = np.arange(len(scores)) < poisons
    false, true, _ = roc_curve(truth, scores, drop_intermediate=False)
    expected = true[false <= rate + 1e-9].max()
    assert recall_at_fpr(scores, truth, rate) == pytest.approx(expected)


def test_every_figure() -> None:
    rng = np.random.default_rng(0)
    scores, poisoned = rng.normal(size=200), [3, 5, 150]
    scores[[3, 150]] += 4
    truth = np.isin(np.arange(200), poisoned)
    flagged = np.flatnonzero(scores > 2).tolist()
    assert detection_metrics(scores, flagged, poisoned) == {
        "auroc": roc_auc_score(truth, scores),
        "average_precision": average_precision_score(truth, scores),
        "recall_at_fpr_0.001": recall_at_fpr(scores, truth, 0.001),
        "recall_at_fpr_0.01": recall_at_fpr(scores, truth, 0.01),
        **agreement(flagged, poisoned),
        "flagged": len(flagged),
    }


def test_every_detector_of_a_run_and_the_scan_is_measured() -> None:
    table = pd.DataFrame(
        {
            "flagged": [False, True, False, False],
            "rank": [2, 1, 3, 4],
            "score.spectral": [3.0, 1.0, 0.0, 2.0],
            "score.high-loss": [0.0, 1.0, 2.0, 3.0],
            "flagged.spectral": [True, False, False, True],
            "flagged.high-loss": [False, False, False, False],
        }
    )
    assert run_metrics(table, [1], [0, 1]) == {
        "spectral": detection_metrics([3, 1, 0, 2], [0, 3], [0, 1]),
        "high-loss": detection_metrics([0, 1, 2, 3], [], [0, 1]),
        "assay scan": detection_metrics([-2, -1, -3, -4], [1], [0, 1]),
    }


def test_true_poisons_among_the_first_k() -> None:
    scores = [9.0, 8, 7, 6, 5, 4, 3, 2, 1, 0]
    rates = true_poison_rates(scores, [0, 2, 9], [1, 2, 3, 4, 10])
    assert rates == pytest.approx({1: 1, 2: 1 / 2, 3: 2 / 3, 4: 2 / 4, 10: 3 / 10})


def test_rows_tied_for_the_last_place_count_by_their_share() -> None:
    # Of rows 1 to 3, one a poison, one is drawn.
    assert true_poison_rates([9, 5, 5, 5, 1], [0, 2], [2]) == pytest.approx(
        {2: (1 + 1 / 3) / 2}
    )


@pytest.mark.parametrize("k", [0, 4])
def test_the_first_k_are_some_of_the_rows(k: int) -> None:
    with pytest.raises(AssayError, match=f"top {k} of 3 rows: take 1 to 3"):
        true_poison_rates([1, 2, 3], [0], [k])
