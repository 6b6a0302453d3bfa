"""Baseline: spectral signatures (Tran et al. 2018)."""

from __future__ import annotations

import numpy as np

from assay.detectors.components import fits, streamed_components
from assay.detectors.evidence import (
    Detection,
    Evidence,
    groups_of,
    measured,
    robust_z,
    simple,
)


def spectral(evidence: Evidence) -> Detection:
    """Score by squared projection on the top singular vector of a response's states.

    The paper removes 1.5 times the known poison rate; without it robust outliers
    (z over 3.5) are flagged. Groups under 4 rows, and rows whose states are not
    finite, come last.

    Raises:
        AssayError: No row's state is finite.
    """
    known = measured(evidence.hidden, "hidden state")
    scores = np.zeros(len(evidence.responses))
    flagged = np.zeros(len(scores), dtype=bool)
    for rows in groups_of(evidence.responses, known, 4):
        if fits(evidence.hidden, rows):
            states = evidence.hidden[rows].astype(np.float64)
            states -= states.mean(0)
            top = states @ np.linalg.svd(states, full_matrices=False)[2][0]
        else:
            top = streamed_components(evidence.hidden, 1, rows, unit=False)[:, 0]
        # Scaled by the group's own mean so that groups compare.
        squared = top**2
        scores[rows] = squared / max(float(squared.mean()), 1e-12)
        flagged[rows] = robust_z(scores[rows]) > 3.5
    return simple("spectral", scores, flagged)
