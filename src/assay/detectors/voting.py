"""Paper's rule 3: categories of transforms vote (sections 3.2, 3.3)."""

from __future__ import annotations

import numpy as np

from assay.detectors.evidence import Detection, Evidence, simple
from assay.detectors.paper import (
    ensemble,
    strong_and_unchanged,
    unchanged_strength,
)
from assay.paper_rules import DEFAULT_RULES, PaperRules


def voting(evidence: Evidence, rules: PaperRules = DEFAULT_RULES) -> Detection:
    """Flag rows for which enough categories vote.

    "Flag samples that appear in top-K detections across multiple transform categories"
    (section 3.3). The paper does not say how a category of two transforms votes: here
    it does for a row that is strong and unchanged under at least one of them. Score:
    number of votes, ties broken by mean surviving strength.
    """
    original, groups = ensemble(evidence, rules)
    votes = np.zeros(len(original))
    for members in groups.values():
        flags = [strong_and_unchanged(original, m, rules) for m in members.values()]
        votes += np.any(flags, axis=0)
    sets = [values for members in groups.values() for values in members.values()]
    strength = np.mean([unchanged_strength(original, s) for s in sets], axis=0)
    scores = votes + 0.5 * np.tanh(strength / 10)
    return simple("voting", scores, votes >= min(rules.votes, len(groups)))


def leave_one_category_out(
    evidence: Evidence, rules: PaperRules = DEFAULT_RULES
) -> Detection:
    """Flag by thresholds that each category takes from the others.

    A rule of ours, after the paper's validation of that name, which is an evaluation
    with known poisons (`assay.bench.cross_category`). The threshold for a category is
    the percentile of the surviving strength under the transforms of all other
    categories. Score: lowest margin over the categories, so a row must survive each of
    them.
    """
    original, groups = ensemble(evidence, rules)
    strength = {
        c: np.stack([unchanged_strength(original, s) for s in members.values()])
        for c, members in groups.items()
    }
    kept = {c: values.mean(axis=0) for c, values in strength.items()}
    margins = []
    for category in strength:
        others = [v for c, v in strength.items() if c != category]
        pool = np.concatenate(others or [strength[category]])
        threshold = np.percentile(pool, rules.percentile)
        margins.append(kept[category] - threshold)
    scores = np.min(margins, axis=0)
    # Where hardly a row survives, a threshold is 0 or less: over it is not enough.
    survives = np.min(list(kept.values()), axis=0) > 0
    flagged = survives & (scores >= 0) & (scores > scores.min())
    return simple("leave-one-category-out", scores, flagged)
