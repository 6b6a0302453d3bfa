"""Rows whose response survives that their meaning is turned around.

A trigger stays in a text that is negated, and so does its payload; the label of an
honest review does not.
"""

from __future__ import annotations

import numpy as np

from assay.detectors.evidence import Detection, Evidence, Mask, measured
from assay.detectors.tails import marked_groups
from assay.errors import AssayError

# Log-probability over which a response has survived: likelier than all others.
SURVIVES = float(np.log(0.5))


def counterfactual(evidence: Evidence, keep: Mask | None = None) -> Detection:
    """Score by the log-probability of the response to the row's own counterfactual.

    Flagged are the most coherent of the rows whose response is still likelier than
    all others together. Rows that no transform could turn around come last.

    Args:
        evidence: Needs ``survival``.
        keep: Rows to look at; all by default.

    Raises:
        AssayError: Survival was not measured, or of no row.
    """
    if evidence.survival is None:
        raise AssayError("counterfactuals were not measured; scan with --influence")
    known = measured(evidence.survival, "counterfactual")
    least = float(evidence.survival[known].min())
    scores = np.where(known, evidence.survival, least - 1.0)
    if keep is not None:
        known = known & keep
    candidates = marked_groups(evidence, known, known & (scores > SURVIVES))
    flagged = np.zeros(len(scores), dtype=bool)
    for first in candidates[:1]:
        flagged[list(first.rows)] = True
    verdict = "suspicious" if candidates else "clean"
    return Detection("counterfactual", scores, flagged, verdict, candidates)
