"""What the paper's rules share: how strong and how unchanged a row's influence is.

Every rule reads the influence of the training rows on a set of test inputs, before
(``original``) and after each transform. Influences of a set are divided by their
standard deviation over rows, so that transforms compare.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from assay.detectors.evidence import Array, Evidence, Mask, measured
from assay.errors import AssayError

PERCENTILE = 95.0


def _in_deviations(values: ArrayLike) -> Array:
    """Divide by the standard deviation, at any scale and in any order of rows.

    A set that tells no rows apart becomes 0, and so does a value that is not finite.
    """
    influence = np.nan_to_num(np.asarray(values, np.float64), posinf=0, neginf=0)
    largest = np.abs(influence).max(initial=0.0)
    if largest == 0:
        return influence
    influence = influence / largest
    # Sorted, since the rounding of a sum depends on the order of its terms.
    deviation = float(np.std(np.sort(influence)))
    return np.asarray(influence / deviation if deviation > 1e-12 else 0 * influence)


def scaled(evidence: Evidence) -> tuple[Array, dict[str, Array]]:
    """Influence on the original inputs and on each transform's, in standard deviations.

    Raises:
        AssayError: The evidence has no influences on transformed inputs, or no row
            has finite ones.
    """
    sets = {name: _in_deviations(v) for name, v in evidence.influence.items()}
    original = sets.pop("original", None)
    if original is None or not sets:
        raise AssayError(
            "this rule needs influences on original and transformed inputs: "
            "scan with --detector set to one of the paper's rules"
        )
    with_influence(evidence)
    return original, sets


def with_influence(evidence: Evidence) -> Mask:
    """Rows whose influences are all finite, ``(N,)``."""
    return measured(np.column_stack(list(evidence.influence.values())), "influence")


def unchanged_strength(original: Array, transformed: Array) -> Array:
    """Strength that survives a transform, negative where the sign turned, ``(N,)``.

    ``sign(I · I') · min(|I|, |I'|)``: high only for rows that are strong before and
    after, on the same side.
    """
    weaker = np.minimum(np.abs(original), np.abs(transformed))
    return np.asarray(np.sign(original) * np.sign(transformed) * weaker)


def strong_and_unchanged(
    original: Array,
    transformed: Array,
    *,
    percentile: float = PERCENTILE,
    top_k: int | None = None,
) -> Mask:
    """Flag rows strong before and after a transform with the same sign.

    Args:
        original: Influence on the original inputs, ``(N,)``.
        transformed: Influence on the transformed inputs, ``(N,)``.
        percentile: Rows at or over this percentile of absolute influence are strong.
        top_k: Instead, the K strongest rows are, and those tied with the last.

    Raises:
        AssayError: ``top_k`` is not positive.
    """
    if top_k is not None and top_k < 1:
        raise AssayError(f"top_k is {top_k}: take at least one row")

    def strong(values: Array) -> Mask:
        size = np.abs(values)
        if top_k is not None:
            limit = np.sort(size)[-min(top_k, len(size))]
        else:
            limit = np.percentile(size, percentile)
        return np.asarray(size >= limit)

    same = np.sign(original) * np.sign(transformed) > 0
    return strong(original) & strong(transformed) & same
