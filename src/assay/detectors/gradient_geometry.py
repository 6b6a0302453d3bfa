"""Default detector: an outlying direction in the gradients of one response.

Rows that share a response are compared by their length-normalised projected
gradients. Independent components of these find directions along which a few rows
lie far out; clean data has such directions too, so a group is reported only when
its rows share a word sequence the others lack.
"""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import kurtosis, skew
from sklearn.decomposition import FastICA

from assay.detectors.coherence import Pattern, ngrams, shared_pattern
from assay.detectors.evidence import (
    Array,
    Detection,
    Evidence,
    response_groups,
    robust_z,
)

COMPONENTS = 10
SMALLEST_GROUP = 20
TAIL = 4.0
POISONED, SUSPICIOUS = 1e-4, 0.05


def principal_components(features: NDArray[np.float32], count: int) -> Array:
    """Scores of length-normalised rows on their top components, ``(n, count)``."""
    rows = features.astype(np.float64)
    rows /= np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-12)
    rows -= rows.mean(0)
    # n rows, F ≫ n columns: the Gram matrix is the small one.
    values, vectors = np.linalg.eigh(rows @ rows.T)
    return vectors[:, ::-1][:, :count] * np.sqrt(np.maximum(values[::-1][:count], 0))


def independent_components(scores: Array, seed: int = 0) -> Array:
    """Robust z-scores on independent components, ``(n, c)``.

    The heavy tail of each is positive; the most kurtotic comes first.
    """
    with warnings.catch_warnings():
        # Not converging costs precision of a direction, not validity.
        warnings.simplefilter("ignore")
        sources = FastICA(
            whiten="unit-variance", random_state=seed, max_iter=1000
        ).fit_transform(scores)
    sources = sources * np.where(skew(sources) < 0, -1.0, 1.0)
    order = np.argsort(-kurtosis(sources))
    return np.column_stack([robust_z(sources[:, i]) for i in order])


def _examine(
    z: Array, grams: list[set[tuple[str, ...]]]
) -> tuple[int, Pattern | None, float]:
    """Choose the component whose tail is most coherent; correct for the choice."""
    best: tuple[int, Pattern | None, float] = (0, None, 1.0)
    for column in range(z.shape[1]):
        tail = np.flatnonzero(z[:, column] > TAIL)
        if not 3 <= len(tail) <= len(z) // 2:
            continue
        pattern = shared_pattern(grams, tail)
        if pattern is None:
            continue
        p_value = min(1.0, pattern.p_value * z.shape[1])
        if p_value < best[2]:
            best = (column, pattern, p_value)
    return best


def gradient_geometry(evidence: Evidence, *, seed: int = 0) -> Detection:
    """Detect groups of rows that lie apart in gradient space and share words.

    A row's score is its robust z on its response group's component, weighted by how
    coherent that component's tail is.

    Args:
        evidence: Needs ``features``.
        seed: Seed of FastICA.
    """
    total = len(evidence.responses)
    scores = np.zeros(total)
    flagged = np.zeros(total, dtype=bool)
    findings: list[dict[str, Any]] = []
    groups = [
        g for g in response_groups(evidence.responses) if len(g) >= SMALLEST_GROUP
    ]
    lowest = 1.0
    for rows in groups:
        count = min(COMPONENTS, len(rows) // 4)
        features = np.asarray(evidence.features[rows])
        z = independent_components(principal_components(features, count), seed)
        grams = [ngrams(evidence.texts[i]) for i in rows]
        column, pattern, p_value = _examine(z, grams)
        p_value = min(1.0, p_value * len(groups))
        lowest = min(lowest, p_value)
        weight = float(np.clip(-np.log10(max(p_value, 1e-50)), 0.05, 50))
        scores[rows] = z[:, column] * weight
        if pattern is None or p_value > SUSPICIOUS:
            continue
        tail = np.flatnonzero(z[:, column] > TAIL)
        carriers = np.array(pattern.carriers)
        # When the shared words explain the tail and little else carries them, the
        # carriers are the group: poison is where the trigger is.
        explains = 2 * pattern.inside >= len(tail)
        specific = 4 * pattern.inside >= len(carriers)
        chosen = rows[carriers if explains and specific else tail]
        flagged[chosen] = True
        findings.append(
            {
                "rows": [int(i) for i in chosen],
                "score": float(scores[chosen].mean()),
                "response": str(evidence.responses[int(rows[0])]),
                "pattern": pattern.text,
                "pattern_rows": len(carriers),
                "pattern_p_value": p_value,
            }
        )
    findings.sort(key=lambda f: -f["score"])
    verdict = "clean"
    if lowest <= SUSPICIOUS:
        verdict = "poisoned" if lowest <= POISONED else "suspicious"
    return Detection("gradient-geometry", scores, flagged, verdict, findings)
