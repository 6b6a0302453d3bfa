"""Paper's rule 2: variance of influence across the transforms (sections 3.2, 3.3).

The variance is over the transforms, two of each category, without the original inputs:
"influence variance across transforms" (section 3.3).
"""

from __future__ import annotations

import numpy as np

from assay.detectors.evidence import Array, Detection, Evidence, simple
from assay.detectors.paper import ensemble, top, with_influence
from assay.paper_rules import DEFAULT_RULES, PaperRules


def _variances(evidence: Evidence, rules: PaperRules) -> Array:
    _, groups = ensemble(evidence, rules)
    sets = [values for members in groups.values() for values in members.values()]
    return np.asarray(np.var(np.stack(sets), axis=0))


def variance(evidence: Evidence, rules: PaperRules = DEFAULT_RULES) -> Detection:
    """Score by variance, high first, as the paper has it."""
    scores = _variances(evidence, rules)
    return simple("variance", scores, top(scores, rules))


def low_variance(evidence: Evidence, rules: PaperRules = DEFAULT_RULES) -> Detection:
    """Score by variance, low first: the direction that "unchanged" would suggest.

    Ours; the paper says high, of rows that it calls unchanged elsewhere.
    """
    scores = -_variances(evidence, rules)
    # Rows without influences vary least of all, and tell nothing.
    scores[~with_influence(evidence)] = scores.min()
    return simple("low-variance", scores, top(scores, rules))
