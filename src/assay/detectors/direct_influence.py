"""Paper's reference rule: rows of extreme influence on the untransformed inputs.

"Direct influence-based detection using percentile thresholding" (section 3.8), at
either end; `assay.detectors.low_influence` is the end that the section reports.
"""

from __future__ import annotations

import numpy as np

from assay.detectors.evidence import Detection, Evidence, simple
from assay.detectors.paper import influences, top
from assay.paper_rules import DEFAULT_RULES, PaperRules


def direct_influence(
    evidence: Evidence, rules: PaperRules = DEFAULT_RULES
) -> Detection:
    """Score by absolute influence; flag the highest."""
    scores = np.abs(influences(evidence, rules)[0])
    return simple("direct-influence", scores, top(scores, rules))
