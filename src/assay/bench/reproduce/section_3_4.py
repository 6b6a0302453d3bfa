"""Section 3.4: the baseline of a single transform."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from assay.bench.reproduce.results import Counts, Unit, Value, counts
from assay.detectors import detect
from assay.detectors.evidence import Evidence
from assay.paper_rules import DEFAULT_RULES, PaperRules


@dataclass(frozen=True)
class Section34:
    """What the single transform finds.

    Attributes:
        counts: What it flags.
    """

    counts: Counts

    def values(self) -> tuple[Value, ...]:
        """Return what the paper tells: rows flagged, true ones, and their share."""
        found = self.counts
        return (
            Value("flagged", "single", found.flagged, Unit.ROWS),
            Value("true poisons", "single", found.true, Unit.ROWS),
            Value("precision", "single", found.precision),
            Value("recall", "single", found.recall),
        )


def section_3_4(
    evidence: Evidence, poisoned: Sequence[int], rules: PaperRules = DEFAULT_RULES
) -> Section34:
    """Count "potential critical poisons" and the true ones among them (section 3.4).

    Args:
        evidence: Needs influences on original and transformed test inputs.
        poisoned: Positions of the poisons.
        rules: The transform, and K or percentile.

    Raises:
        AssayError: There are no influences, or none under the rules' transform.
    """
    found = detect("single-transform", evidence, rules)
    return Section34(counts(found.flagged, poisoned))
