"""The paper's rules together, as a proposer."""

from __future__ import annotations

import numpy as np

from assay.detectors.combined import combined
from assay.detectors.evidence import Detection, Evidence, Mask
from assay.detectors.single_transform import single_transform
from assay.detectors.tails import marked_groups
from assay.detectors.variance import low_variance
from assay.detectors.voting import leave_one_category_out, voting
from assay.paper_rules import DEFAULT_RULES, PaperRules

RULES = (single_transform, low_variance, voting, leave_one_category_out)


def paper_ensemble(
    evidence: Evidence, keep: Mask | None = None, rules: PaperRules = DEFAULT_RULES
) -> Detection:
    """Propose what rows share that any of the paper's rules flags.

    Scores are those of `combined`. Variance is read as "unchanged" suggests, low.

    Args:
        evidence: Needs influences before and after transforms.
        keep: Rows to look at; all by default.
        rules: Parameters of the rules.

    Raises:
        AssayError: Influences were not measured.
    """
    known = np.ones(len(evidence.responses), dtype=bool) if keep is None else keep
    candidates = []
    for rule in RULES:
        candidates += marked_groups(evidence, known, rule(evidence, rules).flagged)
    candidates.sort(key=lambda c: c.pattern_p_value)
    flagged = np.zeros(len(known), dtype=bool)
    for first in candidates[:1]:
        flagged[list(first.rows)] = True
    verdict = "suspicious" if candidates else "clean"
    scores = combined(evidence, rules).scores
    return Detection("paper-ensemble", scores, flagged, verdict, candidates)
