"""Paper's combination of its rules."""

from __future__ import annotations

import numpy as np
from scipy.stats import rankdata

from assay.detectors.evidence import Detection, Evidence, simple
from assay.detectors.single_transform import single_transform
from assay.detectors.variance import variance
from assay.detectors.voting import voting


def combined(evidence: Evidence) -> Detection:
    """Score by mean rank under the three rules; flag what two of them flag."""
    rules = [single_transform(evidence), variance(evidence), voting(evidence)]
    ranks = [rankdata(rule.scores) / len(rule.scores) for rule in rules]
    agreed = np.sum([rule.flagged for rule in rules], axis=0) >= 2
    return simple("combined", np.mean(ranks, axis=0), agreed)
