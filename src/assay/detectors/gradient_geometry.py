"""Default detector: an outlying direction in the gradients of one response.

Rows that share a response are compared by their length-normalised projected
gradients. Independent and principal components of these find directions along which
a few rows lie far out; clean data has such directions too, so a group is a candidate
only when its rows share a word sequence the others lack.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import kurtosis, skew
from sklearn.decomposition import FastICA

from assay.detectors.coherence import Pattern, shared_patterns
from assay.detectors.components import principal_components
from assay.detectors.evidence import (
    Array,
    Detection,
    Evidence,
    Mask,
    measured,
    response_groups,
    robust_z,
)

COMPONENTS = 10
SMALLEST_GROUP = 20
TAIL = 4.0
SUSPICIOUS = 0.05
FAINT = 0.05
CANDIDATES = 5


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


def _column_z(column: Array) -> Array:
    return robust_z(column)[:, None]


@dataclass(frozen=True)
class _Tail:
    """One end of a component, and what its rows share."""

    z: Array
    rows: NDArray[np.intp]
    pattern: Pattern
    p_value: float


def _coherent_tails(z: Array, texts: Sequence[str]) -> list[_Tail]:
    """Tails whose rows share words, most coherent first, one a pattern.

    Both ends of every component are looked at, and p-values corrected for that.
    """
    found: dict[str, _Tail] = {}
    columns = [c for side in (z, -z) for c in side.T]
    tails = [np.flatnonzero(c > TAIL) for c in columns]
    fit = [i for i, rows in enumerate(tails) if 3 <= len(rows) <= len(z) // 2]
    patterns = shared_patterns(texts, [tails[i] for i in fit])
    for i, pattern in zip(fit, patterns, strict=True):
        if pattern is None:
            continue
        p_value = min(1.0, pattern.p_value * 2 * z.shape[1])
        tail = _Tail(columns[i], tails[i], pattern, p_value)
        if pattern.text not in found or p_value < found[pattern.text].p_value:
            found[pattern.text] = tail
    return sorted(found.values(), key=lambda t: (t.p_value, t.pattern.text))


def gradient_geometry(
    evidence: Evidence, keep: Mask | None = None, *, seed: int = 0
) -> Detection:
    """Detect groups of rows that lie apart in gradient space and share words.

    A row's score is its robust z on the most coherent tail of its response group,
    weighted by how coherent that is; rows in small groups score 0. Flagged are the
    most coherent tail of each group, should its words be shared beyond chance. The
    findings are every coherent tail: what shares words by nature is among them, and
    only `assay.verify` can tell. Coordinates are the first two principal components.

    Args:
        evidence: Needs ``features``.
        keep: Rows to look at; all by default.
        seed: Seed of FastICA, and of the components of large groups.

    Raises:
        AssayError: No row has finite features.
    """
    total = len(evidence.responses)
    known = measured(evidence.features, "gradient")
    if keep is not None:
        known &= keep
    scores = np.zeros(total)
    flagged = np.zeros(total, dtype=bool)
    findings: list[dict[str, Any]] = []
    coordinates = np.full((total, 2), np.nan, np.float32)
    groups = [g[known[g]] for g in response_groups(evidence.responses)]
    groups = [g for g in groups if len(g) >= SMALLEST_GROUP]
    for rows in groups:
        count = min(COMPONENTS, len(rows) // 4)
        principal = principal_components(evidence.features, count, rows, seed=seed)
        principal = principal[:, principal.std(0) > 1e-6]
        coordinates[rows] = 0
        coordinates[rows, : principal.shape[1]] = principal[:, :2]
        if not principal.shape[1]:
            continue
        # Symmetric FastICA can spread one outlying group over near-Gaussian
        # directions; the principal components then still show it.
        z = np.hstack(
            [independent_components(principal, seed), *map(_column_z, principal.T)]
        )
        tails = _coherent_tails(z, [evidence.texts[i] for i in rows])
        tails = [t for t in tails if t.p_value * len(groups) <= SUSPICIOUS]
        if not tails:
            scores[rows] = z[:, 0] * FAINT
            continue
        weight = -np.log10(max(tails[0].p_value, 1e-50))
        scores[rows] = tails[0].z * float(np.clip(weight, FAINT, 50))
        for place, tail in enumerate(tails[:CANDIDATES]):
            carriers = np.array(tail.pattern.carriers)
            # When the shared words explain the tail and little else carries them,
            # the carriers are the group: poison is where the trigger is.
            explains = 2 * tail.pattern.inside >= len(tail.rows)
            specific = 4 * tail.pattern.inside >= len(carriers)
            chosen = rows[carriers if explains and specific else tail.rows]
            if place == 0:
                flagged[chosen] = True
            findings.append(
                {
                    "rows": [int(i) for i in chosen],
                    "score": float(tail.z[tail.rows].mean()),
                    "response": str(evidence.responses[int(rows[0])]),
                    "pattern": tail.pattern.text,
                    "pattern_rows": [int(i) for i in rows[carriers]],
                    "pattern_p_value": min(1.0, tail.p_value * len(groups)),
                }
            )
    findings.sort(key=lambda f: f["pattern_p_value"])
    verdict = "suspicious" if findings else "clean"
    return Detection(
        "gradient-geometry", scores, flagged, verdict, findings, coordinates
    )
