"""Paper's rule 1: strong and unchanged under a single transform."""

from __future__ import annotations

import numpy as np

from assay.detectors.evidence import Detection, Evidence, simple
from assay.detectors.paper import scaled, strong_and_unchanged, unchanged_strength
from assay.errors import AssayError

DEFAULT = "grammatical-negation"


def single_transform(
    evidence: Evidence, *, transform: str | None = None, top_k: int | None = None
) -> Detection:
    """Score by the strength that survives one transform.

    Args:
        evidence: Needs influences.
        transform: Name of the transform; by default the grammatical negation, or the
            first by name where that was not run.
        top_k: Flag by the K strongest rows instead of by percentile.

    Raises:
        AssayError: No influences, or none under this transform.
    """
    original, sets = scaled(evidence)
    if transform is not None and transform not in sets:
        raise AssayError(
            f"no influences under {transform!r}; there are: {', '.join(sorted(sets))}"
        )
    default = DEFAULT if DEFAULT in sets else min(sets)
    chosen = sets[transform or default]
    return simple(
        "single-transform",
        unchanged_strength(original, chosen),
        np.asarray(strong_and_unchanged(original, chosen, top_k=top_k)),
    )
