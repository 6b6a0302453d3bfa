"""Paper's rule 1: strong and unchanged under a single transform (sections 3.4, 3.5)."""

from __future__ import annotations

from collections.abc import Iterable

from assay.detectors.evidence import Detection, Evidence, simple
from assay.detectors.paper import (
    influences,
    strong_and_unchanged,
    unchanged_strength,
)
from assay.errors import AssayError
from assay.paper_rules import DEFAULT_RULES, PaperRules

# The paper's for sentiment (section 3.4) and for sums (section 3.5), then the one of
# the ensemble's six that negates the sentence itself.
PREFERRED = ("sorry-not", "opposite", "grammatical-negation")


def chosen_transform(measured: Iterable[str], wanted: str | None) -> str:
    """Choose the rule's transform among those measured.

    Raises:
        AssayError: The one wanted is not among them.
    """
    names = sorted(measured)
    if wanted is None:
        return next((n for n in PREFERRED if n in names), names[0])
    if wanted not in names:
        raise AssayError(
            f"no influences under {wanted!r}; there are: {', '.join(names)}"
        )
    return wanted


def single_transform(
    evidence: Evidence, rules: PaperRules = DEFAULT_RULES
) -> Detection:
    """Score by the strength that survives one transform.

    Args:
        evidence: Needs influences.
        rules: The transform, and K or percentile.

    Raises:
        AssayError: No influences, or none under this transform.
    """
    original, sets = influences(evidence, rules)
    chosen = sets[chosen_transform(sets, rules.single_transform)]
    return simple(
        "single-transform",
        unchanged_strength(original, chosen),
        strong_and_unchanged(original, chosen, rules),
    )
