"""Outlying directions in the hidden states of one response, as in gradients.

A trigger that the model obeys shows where the response begins. The states need no
gradients, and are of another kind than these: what one does not show the other may.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from assay.detectors.evidence import Array, Detection, Evidence, Mask, measured
from assay.detectors.gradient_geometry import components, outlying
from assay.detectors.tails import detect_tails


def hidden_geometry(
    evidence: Evidence, keep: Mask | None = None, *, seed: int = 0
) -> Detection:
    """Detect groups of rows whose hidden states lie apart and that share words.

    Args:
        evidence: Needs ``hidden``.
        keep: Rows to look at; all by default.
        seed: Seed of FastICA, and of the components of large groups.

    Raises:
        AssayError: No row's state is finite.
    """
    known = measured(evidence.hidden, "hidden state")
    if keep is not None:
        known &= keep

    def apart(rows: NDArray[np.intp]) -> Array:
        return outlying(components(evidence.hidden, rows, seed=seed), seed=seed)

    return detect_tails("hidden-geometry", evidence, known, apart)
