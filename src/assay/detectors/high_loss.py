"""Baseline: rows the tuned model fits worst (Wan et al. 2023, section 6)."""

from __future__ import annotations

import numpy as np

from assay.detectors.evidence import Detection, Evidence, robust_z, simple


def high_loss(evidence: Evidence) -> Detection:
    """Score by final loss; flag robust outliers (z over 3.5)."""
    scores = evidence.losses.astype(np.float64)
    return simple("high-loss", scores, robust_z(scores) > 3.5)
