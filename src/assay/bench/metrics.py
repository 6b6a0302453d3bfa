"""How well scores and flags find the poisoned rows."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike
from sklearn.metrics import average_precision_score, roc_auc_score

from assay.errors import AssayError


def agreement(flagged: Sequence[int], poisoned: Sequence[int]) -> dict[str, float]:
    """Precision, recall and F1 of flagged rows; 0 where undefined."""
    hits = len(set(flagged) & set(poisoned))
    precision = hits / len(set(flagged)) if flagged else 0.0
    recall = hits / len(set(poisoned)) if poisoned else 0.0
    both = precision + recall
    f1 = 2 * precision * recall / both if both else 0.0
    return {"precision": precision, "recall": recall, "f1": f1}


def recall_at_fpr(scores: ArrayLike, truth: ArrayLike, rate: float) -> float:
    """Share of poisons scored above all but ``rate`` of the clean rows."""
    values, poisoned = np.asarray(scores), np.asarray(truth, dtype=bool)
    clean = np.sort(values[~poisoned])[::-1]
    # 0.29 * 100 is a little under 29.
    allowed = int(rate * len(clean) + 1e-9)
    threshold = clean[allowed] if allowed < len(clean) else -np.inf
    return float((values[poisoned] > threshold).mean())


def true_poison_rates(
    scores: ArrayLike, poisoned: Sequence[int], ks: Sequence[int]
) -> dict[int, float]:
    """Share of poisons among the K rows of the highest scores (the paper's Table 5).

    Where rows are tied for the last places, what is expected of a draw among them.

    Args:
        scores: Suspicion of each row, ``(N,)``.
        poisoned: Positions of the poisons.
        ks: The numbers of rows, each from 1 to N.

    Raises:
        AssayError: A K is not.
    """
    values = np.asarray(scores, dtype=np.float64)
    truth = np.zeros(len(values), dtype=bool)
    truth[list(poisoned)] = True
    ranked = np.sort(values)[::-1]
    found = {}
    for k in ks:
        if not 1 <= k <= len(values):
            raise AssayError(f"top {k} of {len(values)} rows: take 1 to {len(values)}")
        above, tied = values > ranked[k - 1], values == ranked[k - 1]
        drawn = (k - above.sum()) * truth[tied].mean()
        found[k] = float((truth[above].sum() + drawn) / k)
    return found


def detection_metrics(
    scores: ArrayLike, flagged: Sequence[int], poisoned: Sequence[int]
) -> dict[str, float]:
    """Every figure the benchmark reports of a detector.

    Args:
        scores: Suspicion of each row, ``(N,)``.
        flagged: Positions over the detector's own threshold.
        poisoned: Positions of the poisons; neither none nor all rows.
    """
    values = np.asarray(scores, dtype=np.float64)
    truth = np.zeros(len(values), dtype=bool)
    truth[list(poisoned)] = True
    return {
        "auroc": float(roc_auc_score(truth, values)),
        "average_precision": float(average_precision_score(truth, values)),
        "recall_at_fpr_0.001": recall_at_fpr(values, truth, 0.001),
        "recall_at_fpr_0.01": recall_at_fpr(values, truth, 0.01),
        **agreement(flagged, poisoned),
        "flagged": float(len(flagged)),
    }


def run_metrics(
    scores: pd.DataFrame, flagged: Sequence[int], poisoned: Sequence[int]
) -> dict[str, dict[str, float]]:
    """Figures of every detector of a run, and of the scan as ``assay scan``.

    Args:
        scores: The run's ``scores.parquet``.
        flagged: Positions of the rows that the scan removes.
        poisoned: Positions of the poisons; neither none nor all rows.
    """
    prefix = "score."
    names = [c.removeprefix(prefix) for c in map(str, scores) if c.startswith(prefix)]
    found = {
        name: detection_metrics(
            scores[f"{prefix}{name}"],
            np.flatnonzero(scores[f"flagged.{name}"]).tolist(),
            poisoned,
        )
        for name in names
    }
    return found | {"assay scan": detection_metrics(-scores["rank"], flagged, poisoned)}
