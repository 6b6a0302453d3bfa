"""Does the paper's detection carry over to transforms it has not seen (section 3.2)?

An evaluation with known poisons, not a rule: "We train detection thresholds on
transforms from two categories and test on the held-out category" (Table 4).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from assay.bench.metrics import agreement
from assay.detectors.evidence import Array, Evidence, Mask
from assay.detectors.paper import ensemble, unchanged_strength
from assay.errors import AssayError
from assay.paper_rules import DEFAULT_RULES, PaperRules

# How the threshold is found: the best F1 on the others, or the percentile there.
FITS = ("f1", "percentile")
METRICS = ("precision", "recall", "f1")


@dataclass(frozen=True)
class HeldOut:
    """What a threshold of the other categories finds under one category.

    Attributes:
        category: The category held out.
        threshold: Least surviving strength that is flagged, fitted on the others.
        metrics: ``precision``, ``recall`` and ``f1`` under the category held out.
        fitted: The same on the categories that the threshold was fitted on.
    """

    category: str
    threshold: float
    metrics: Mapping[str, float]
    fitted: Mapping[str, float]


@dataclass(frozen=True)
class CrossCategory:
    """Table 4: every category held out once.

    Attributes:
        folds: A category each.
        mean: Mean of each metric over the folds.
        deviation: Standard deviation of each metric over the folds, of the folds
            themselves (divided by their number). That fits the one deviation which the
            paper prints: 0.052 are those of Table 4's precisions, though it calls them
            those of F1.
    """

    folds: Sequence[HeldOut]
    mean: Mapping[str, float]
    deviation: Mapping[str, float]


def best_threshold(scores: Array, poisoned: Mask) -> float:
    """Find the threshold of the best F1; the highest where several are.

    Args:
        scores: Scores, ``(n,)``; those at or over the threshold are flagged.
        poisoned: Which are poisons, ``(n,)``; one at least.
    """
    order = np.argsort(-scores, kind="stable")
    ranked, hits = scores[order], np.cumsum(poisoned[order])
    flagged = np.arange(1, len(scores) + 1)
    f1 = 2 * hits / (flagged + poisoned.sum())
    # Equal scores are flagged together: only the last of them is a threshold.
    f1[:-1][ranked[:-1] == ranked[1:]] = -1.0
    return float(ranked[np.argmax(f1)])


def cross_category(
    evidence: Evidence,
    poisoned: Sequence[int],
    rules: PaperRules = DEFAULT_RULES,
    *,
    fit: str = "f1",
) -> CrossCategory:
    """Hold out each category of transforms in turn, with thresholds from the others.

    A row's score under a category is the mean of the strength that survives its
    transforms. The paper says neither what is thresholded nor how the threshold is
    trained. With ``f1`` it is the one of the best F1 over the scores of both other
    categories together, which needs the poisons to be known there; with
    ``percentile`` it is that percentile of them, which does not. Nothing keeps it
    above 0: where poisons turn their sign, as normal examples should, it is below.

    Args:
        evidence: Influences under transforms of at least two categories.
        poisoned: Positions of the poisons; at least one.
        rules: The percentile, and how influences are scaled.
        fit: Of `FITS`.

    Raises:
        AssayError: There are no influences, one category only, no poison, or the fit
            is unknown.
    """
    if fit not in FITS:
        raise AssayError(f"unknown fit {fit!r}; known: {', '.join(FITS)}")
    original, groups = ensemble(evidence, rules)
    if len(groups) < 2:
        raise AssayError(
            "leaving a category out needs transforms of at least two; measured: "
            f"{', '.join(groups)}"
        )
    if not poisoned:
        raise AssayError("leaving a category out needs rows that are known poisons")
    truth = np.zeros(len(original), dtype=bool)
    truth[list(poisoned)] = True
    scores = {
        category: np.mean(
            [unchanged_strength(original, values) for values in members.values()],
            axis=0,
        )
        for category, members in groups.items()
    }
    folds = []
    for category, held in scores.items():
        others = np.concatenate([s for c, s in scores.items() if c != category])
        labels = np.tile(truth, len(scores) - 1)
        if fit == "f1":
            threshold = best_threshold(others, labels)
        else:
            threshold = float(np.percentile(others, rules.percentile))
        folds.append(
            HeldOut(
                category,
                threshold,
                _found(held, threshold, truth),
                _found(others, threshold, labels),
            )
        )
    metrics = {m: np.array([f.metrics[m] for f in folds]) for m in METRICS}
    return CrossCategory(
        folds,
        {m: float(v.mean()) for m, v in metrics.items()},
        {m: float(v.std()) for m, v in metrics.items()},
    )


def _found(scores: Array, threshold: float, truth: Mask) -> dict[str, float]:
    flagged = np.flatnonzero(scores >= threshold).tolist()
    return agreement(flagged, np.flatnonzero(truth).tolist())
