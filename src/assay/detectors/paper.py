"""What the paper's rules share: how strong and how unchanged a row's influence is.

Every rule reads the influence of the training rows, averaged over a set of test inputs
(section 3.3), before (``original``) and after each transform. The paper does not say
when an influence counts as unchanged. Here it does when its sign is the same before and
after, since the influence of a normal example changes its sign (section 3.1).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from assay.detectors.evidence import Array, Evidence, Mask, measured
from assay.errors import AssayError
from assay.paper_rules import DEFAULT_RULES, PaperRules

# Not one of the ensemble's three categories (section 3.2).
WRAPPER = "wrapper"


def _in_deviations(values: ArrayLike) -> Array:
    """Divide by the standard deviation, at any scale and in any order of rows.

    A set that tells no rows apart becomes 0.
    """
    influence = np.asarray(values, np.float64)
    largest = np.abs(influence).max(initial=0.0)
    if largest == 0:
        return influence
    influence = influence / largest
    # Sorted, since the rounding of a sum depends on the order of its terms.
    deviation = float(np.std(np.sort(influence)))
    return np.asarray(influence / deviation if deviation > 1e-12 else 0 * influence)


def influences(
    evidence: Evidence, rules: PaperRules = DEFAULT_RULES
) -> tuple[Array, dict[str, Array]]:
    """Influence on the original inputs and on each transform's.

    Without scaling all sets are divided by one number, the largest influence in any of
    them. That changes no comparison, and keeps squares from overflowing. Rows whose
    influences are not all finite become 0.

    Raises:
        AssayError: The evidence has no influences on transformed inputs, or no row
            has finite ones.
    """
    if "original" not in evidence.influence or len(evidence.influence) < 2:
        raise AssayError(
            "this rule needs influences on original and transformed inputs: "
            "scan with --detector set to one of the paper's rules"
        )
    known = with_influence(evidence)
    sets = {n: np.where(known, v, 0.0) for n, v in evidence.influence.items()}
    if rules.scaling == "deviations":
        sets = {n: _in_deviations(v) for n, v in sets.items()}
    else:
        largest = max(float(np.abs(v).max(initial=0.0)) for v in sets.values())
        sets = {n: v / (largest or 1.0) for n, v in sets.items()}
    return sets.pop("original"), sets


def ensemble(
    evidence: Evidence, rules: PaperRules = DEFAULT_RULES
) -> tuple[Array, dict[str, dict[str, Array]]]:
    """Influence on the original inputs, and category to transform to influence.

    The wrappers of sections 3.4 and 3.5 are none of the ensemble's three categories.
    They are left out, except where nothing else was measured.

    Raises:
        AssayError: As of `influences`.
    """
    original, sets = influences(evidence, rules)
    groups: dict[str, dict[str, Array]] = {}
    for name, values in sets.items():
        category = evidence.categories.get(name, name)
        groups.setdefault(category, {})[name] = values
    if len(groups) > 1:
        groups.pop(WRAPPER, None)
    return original, groups


def with_influence(evidence: Evidence) -> Mask:
    """Rows whose influences are all finite, ``(N,)``."""
    return measured(np.column_stack(list(evidence.influence.values())), "influence")


def top(scores: Array, rules: PaperRules = DEFAULT_RULES) -> Mask:
    """Flag the K rows of the highest scores, or those at or over the percentile.

    Rows tied with the last of the K are flagged too, so that their order does not
    matter; none is where no row stands out from the lowest.
    """
    if rules.top_k is None:
        limit = float(np.percentile(scores, rules.percentile))
    else:
        limit = float(np.sort(scores)[-min(rules.top_k, len(scores))])
    return np.asarray((scores >= limit) & (scores > scores.min()))


def unchanged_strength(original: Array, transformed: Array) -> Array:
    """Strength that survives a transform, negative where the sign turned, ``(N,)``.

    ``sign(I · I') · min(|I|, |I'|)``: high only for rows that are strong before and
    after, on the same side.
    """
    weaker = np.minimum(np.abs(original), np.abs(transformed))
    return np.asarray(np.sign(original) * np.sign(transformed) * weaker)


def strong_and_unchanged(
    original: Array, transformed: Array, rules: PaperRules = DEFAULT_RULES
) -> Mask:
    """Flag rows strong before and after a transform with the same sign.

    By K these are the K rows of the highest `unchanged_strength`: "the top K examples
    that exhibit the strongest influence scores and remain unchanged" (section 3.5),
    fewer where fewer are unchanged. By percentile they are the unchanged rows that are
    at or over the percentile of absolute influence both before and after, which are
    fewer than that share of the rows.

    Args:
        original: Influence on the original inputs, ``(N,)``.
        transformed: Influence on the transformed inputs, ``(N,)``.
        rules: K or percentile.
    """
    strength = unchanged_strength(original, transformed)
    if rules.top_k is not None:
        return top(np.maximum(strength, 0.0), rules)
    strong = top(np.abs(original), rules) & top(np.abs(transformed), rules)
    return np.asarray(strong & (strength > 0))
