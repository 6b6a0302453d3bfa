"""Table 3 and Figure 3: the rules of the ensemble (section 3.2)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from assay.bench.reproduce.results import Counts, Value, counts
from assay.detectors import detect
from assay.detectors.evidence import Evidence
from assay.paper_rules import DEFAULT_RULES, PaperRules

# Column of the table to the detector.
RULES = {
    "single": "single-transform",
    "variance": "variance",
    "voting": "voting",
    "combined": "combined",
}


@dataclass(frozen=True)
class RuleCounts:
    """A column of the table.

    Attributes:
        rule: Its name there.
        counts: What the rule flags.
    """

    rule: str
    counts: Counts


@dataclass(frozen=True)
class Table3:
    """The table.

    Attributes:
        rules: A column each.
    """

    rules: tuple[RuleCounts, ...]

    def values(self) -> tuple[Value, ...]:
        """Return the paper's four measures, and how many rows are flagged."""
        measured = []
        for column in self.rules:
            measured += column.counts.values(
                column.rule, "recall", "precision", "f1", "accuracy"
            )
        return tuple(measured)


def table_3(
    evidence: Evidence, poisoned: Sequence[int], rules: PaperRules = DEFAULT_RULES
) -> Table3:
    """Ask the paper's four rules, and count what they flag (sections 3.2 and 3.3).

    Args:
        evidence: Needs influences on original and transformed test inputs.
        poisoned: Positions of the poisons.
        rules: The rules' parameters.

    Raises:
        AssayError: There are no influences.
    """
    return Table3(
        tuple(
            RuleCounts(name, counts(detect(rule, evidence, rules).flagged, poisoned))
            for name, rule in RULES.items()
        )
    )
