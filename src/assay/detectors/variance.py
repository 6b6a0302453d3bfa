"""Paper's rule 2: variance of influence across the transforms."""

from __future__ import annotations

import numpy as np

from assay.detectors.evidence import Array, Detection, Evidence, simple
from assay.detectors.paper import PERCENTILE, scaled


def _variances(evidence: Evidence) -> Array:
    return np.asarray(np.var(np.stack(list(scaled(evidence)[1].values())), axis=0))


def variance(evidence: Evidence) -> Detection:
    """Score by variance, high first, as the paper has it; flag the top percentile."""
    scores = _variances(evidence)
    return simple("variance", scores, scores >= np.percentile(scores, PERCENTILE))


def low_variance(evidence: Evidence) -> Detection:
    """Score by variance, low first: the direction "unchanged" would suggest."""
    scores = -_variances(evidence)
    return simple("low-variance", scores, scores >= np.percentile(scores, PERCENTILE))
