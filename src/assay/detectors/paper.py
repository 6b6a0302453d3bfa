"""What the paper's rules share: how strong and how unchanged a row's influence is.

Every rule reads the influence of the training rows on a set of test inputs, before
(``original``) and after each transform. Influences of a set are divided by their
standard deviation over rows, so that transforms compare.
"""

from __future__ import annotations

import numpy as np

from assay.detectors.evidence import Array, Evidence, Mask
from assay.errors import AssayError

PERCENTILE = 95.0


def scaled(evidence: Evidence) -> tuple[Array, dict[str, Array]]:
    """Influence on the original inputs and on each transform's, in standard deviations.

    Raises:
        AssayError: The evidence has no influences on transformed inputs.
    """
    sets = {
        name: np.asarray(values, np.float64) / max(float(np.std(values)), 1e-30)
        for name, values in evidence.influence.items()
    }
    original = sets.pop("original", None)
    if original is None or not sets:
        raise AssayError(
            "this rule needs influences on original and transformed inputs: "
            "scan with --detector set to one of the paper's rules"
        )
    return original, sets


def unchanged_strength(original: Array, transformed: Array) -> Array:
    """Strength that survives a transform, negative where the sign turned, ``(N,)``.

    ``sign(I · I') · min(|I|, |I'|)``: high only for rows that are strong before and
    after, on the same side.
    """
    weaker = np.minimum(np.abs(original), np.abs(transformed))
    return np.asarray(np.sign(original * transformed) * weaker)


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
        top_k: Instead, the K strongest rows are.
    """

    def strong(values: Array) -> Mask:
        size = np.abs(values)
        if top_k is not None:
            limit = np.sort(size)[-min(top_k, len(size))]
        else:
            limit = np.percentile(size, percentile)
        return np.asarray(size >= limit)

    same = original * transformed > 0
    return strong(original) & strong(transformed) & same
