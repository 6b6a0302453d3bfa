"""Baseline: how unlike the other rows of its response a row's hidden state is."""

from __future__ import annotations

import numpy as np

from assay.detectors.evidence import (
    BLOCK,
    Detection,
    Evidence,
    groups_of,
    measured,
    robust_z,
    simple,
    slices,
)


def hidden_similarity(evidence: Evidence) -> Detection:
    """Score by cosine distance from the mean hidden state of the row's response.

    Flagged are robust outliers (z over 3.5) within a response. Groups under 4 rows, and
    rows whose states are not finite, come last.

    Raises:
        AssayError: No row's state is finite.
    """
    hidden = np.asarray(evidence.hidden)
    known = measured(hidden, "hidden state")
    scores = np.full(len(evidence.responses), -1.0)
    flagged = np.zeros(len(scores), dtype=bool)
    for rows in groups_of(evidence.responses, known, 4):
        parts = list(slices(len(rows), 2 * hidden[:1].nbytes, BLOCK))
        total = sum(hidden[rows[p]].sum(0, dtype=np.float64) for p in parts)
        mean = total / max(float(np.linalg.norm(total)), 1e-12)
        for part in parts:
            states = hidden[rows[part]].astype(np.float64)
            lengths = np.maximum(np.linalg.norm(states, axis=1), 1e-12)
            scores[rows[part]] = 1 - states @ mean / lengths
        flagged[rows] = robust_z(scores[rows]) > 3.5
    return simple("hidden-similarity", scores, flagged)
