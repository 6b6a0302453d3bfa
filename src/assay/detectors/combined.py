"""Paper's combination of its rules (Table 3).

The paper has a column "Combined" and no definition. Its precision of 33 % at full
recall are 33 poisons among 100 flagged rows, where variance alone flags 50: no
intersection can be that large, so the union is the default. It is of the three rules
whose columns stand beside it. Even the union does not explain the column by the others:
the single-transform rule flags 943 of 1,000 rows by its own figures, and variance and
voting together no more than the 50 of variance, as all of voting's are poisons and
variance has them all.
"""

from __future__ import annotations

import numpy as np
from scipy.stats import rankdata

from assay.detectors.evidence import Detection, Evidence, simple
from assay.detectors.single_transform import single_transform
from assay.detectors.variance import variance
from assay.detectors.voting import voting
from assay.paper_rules import DEFAULT_RULES, PaperRules


def combined(evidence: Evidence, rules: PaperRules = DEFAULT_RULES) -> Detection:
    """Flag what any of the three rules flags, or what all of them do.

    Score: the best of a row's ranks under the rules, or the worst, so that what is
    flagged comes first either way.
    """
    parts = [rule(evidence, rules) for rule in (single_transform, variance, voting)]
    ranks = np.stack([rankdata(p.scores) / len(p.scores) for p in parts])
    flags = np.stack([p.flagged for p in parts])
    if rules.combine == "union":
        return simple("combined", ranks.max(axis=0), np.asarray(flags.any(axis=0)))
    return simple("combined", ranks.min(axis=0), np.asarray(flags.all(axis=0)))
