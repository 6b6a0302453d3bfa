"""Paper's rule for TinyLlama: the rows of lowest influence (section 3.8).

"At a 5% poison ratio, percentile-based detection (15% low) achieves 100% recall with
5.9% precision." Lowest is read as most negative: what raises the loss of the test
inputs most. The sentence contradicts itself, as all poisons among 15 % of the rows
would be a precision of 33 %. One poison among 17 of 20 rows is 5.9 %: those are the
lowest 85 %, and the paper's published code does flag these (its threshold of 0.15
becomes the percentile 85). The default is what the paper says; 0.85 gives what it
printed.
"""

from __future__ import annotations

import numpy as np

from assay.detectors.evidence import Detection, Evidence, simple
from assay.detectors.paper import influences, with_influence
from assay.paper_rules import DEFAULT_RULES, PaperRules


def low_influence(evidence: Evidence, rules: PaperRules = DEFAULT_RULES) -> Detection:
    """Score by influence, low first; flag the lowest share, and what ties with it."""
    values = influences(evidence, rules)[0]
    # Rows that could not be measured come last.
    known = with_influence(evidence)
    values = np.where(known, values, values[known].max())
    limit = np.percentile(values, 100 * rules.low_share)
    # Where all rows are alike none is low.
    flagged = known & (values <= limit) & (values < values.max())
    return simple("low-influence", -values, flagged)
