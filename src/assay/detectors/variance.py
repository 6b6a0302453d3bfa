"""Paper's rule 2: variance of influence across the transforms."""

from __future__ import annotations

import numpy as np

from assay.detectors.evidence import (
    Array,
    Detection,
    Evidence,
    simple,
    top_percentile,
)
from assay.detectors.paper import PERCENTILE, scaled, with_influence


def _variances(evidence: Evidence) -> Array:
    return np.asarray(np.var(np.stack(list(scaled(evidence)[1].values())), axis=0))


def variance(evidence: Evidence) -> Detection:
    """Score by variance, high first, as the paper has it; flag the top percentile."""
    scores = _variances(evidence)
    return simple("variance", scores, top_percentile(scores, PERCENTILE))


def low_variance(evidence: Evidence) -> Detection:
    """Score by variance, low first: the direction "unchanged" would suggest."""
    scores = -_variances(evidence)
    # Rows without influences vary least of all, and tell nothing.
    scores[~with_influence(evidence)] = scores.min()
    return simple("low-variance", scores, top_percentile(scores, PERCENTILE))
