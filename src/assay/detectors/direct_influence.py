"""Paper's reference rule: rows of extreme influence on the untransformed inputs."""

from __future__ import annotations

import numpy as np

from assay.detectors.evidence import Detection, Evidence, simple, top_percentile
from assay.detectors.paper import PERCENTILE, scaled


def direct_influence(evidence: Evidence) -> Detection:
    """Score by absolute influence; flag the top percentile."""
    scores = np.abs(scaled(evidence)[0])
    return simple("direct-influence", scores, top_percentile(scores, PERCENTILE))
