"""Paper's rule 3: categories of transforms vote."""

from __future__ import annotations

import numpy as np

from assay.detectors.evidence import Array, Detection, Evidence, simple
from assay.detectors.paper import (
    PERCENTILE,
    scaled,
    strong_and_unchanged,
    unchanged_strength,
)


def _by_category(evidence: Evidence, sets: dict[str, Array]) -> dict[str, list[str]]:
    groups: dict[str, list[str]] = {}
    for name in sets:
        groups.setdefault(evidence.categories.get(name, name), []).append(name)
    return groups


def voting(evidence: Evidence) -> Detection:
    """Flag rows for which most categories vote.

    A category votes for a row that is strong and unchanged under one of its
    transforms. Score: number of votes, ties broken by mean surviving strength.
    """
    original, sets = scaled(evidence)
    groups = _by_category(evidence, sets)
    votes = np.zeros(len(original))
    for names in groups.values():
        flags = [strong_and_unchanged(original, sets[n]) for n in names]
        votes += np.any(flags, axis=0)
    strength = np.mean([unchanged_strength(original, s) for s in sets.values()], axis=0)
    scores = votes + 0.5 * np.tanh(strength / 10)
    return simple("voting", scores, votes > len(groups) / 2)


def leave_one_category_out(evidence: Evidence) -> Detection:
    """Flag by thresholds that each category takes from the others.

    The threshold for a category is the top percentile of the surviving strength
    under the transforms of all other categories. Score: lowest margin over the
    categories, so a row must survive each of them.
    """
    original, sets = scaled(evidence)
    groups = _by_category(evidence, sets)
    strength = {n: unchanged_strength(original, s) for n, s in sets.items()}
    kept = {c: np.mean([strength[n] for n in ns], axis=0) for c, ns in groups.items()}
    margins = []
    for category, names in groups.items():
        others = [
            strength[n]
            for g, members in groups.items()
            if g != category
            for n in members
        ]
        pool = others or [strength[n] for n in names]
        threshold = np.percentile(np.concatenate(pool), PERCENTILE)
        margins.append(kept[category] - threshold)
    scores = np.min(margins, axis=0)
    # Where hardly a row survives, a threshold is 0 or less: over it is not enough.
    survives = np.min(list(kept.values()), axis=0) > 0
    return simple("leave-one-category-out", scores, survives & (scores >= 0))
