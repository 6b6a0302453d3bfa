"""Baseline: rows the tuned model fits worst (Wan et al. 2023, section 6)."""

from __future__ import annotations

import numpy as np

from assay.detectors.evidence import Detection, Evidence, measured, robust_z, simple


def high_loss(evidence: Evidence) -> Detection:
    """Score by final loss; flag robust outliers (z over 3.5).

    Rows whose loss is not finite come last.

    Raises:
        AssayError: No row's loss is finite.
    """
    losses = evidence.losses.astype(np.float64)
    known = measured(losses, "loss")
    scores = np.where(known, losses, losses[known].min())
    flagged = np.zeros(len(scores), dtype=bool)
    flagged[known] = robust_z(losses[known]) > 3.5
    return simple("high-loss", scores, flagged)
