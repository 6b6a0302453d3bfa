"""Table 4: categories of transforms left out (section 3.2)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from assay.bench.cross_category import METRICS, CrossCategory, cross_category
from assay.bench.reproduce.results import Value
from assay.detectors.evidence import Evidence
from assay.paper_rules import DEFAULT_RULES, PaperRules


@dataclass(frozen=True)
class Table4:
    """The table, with both ways to find a threshold on the other categories.

    Attributes:
        by_f1: By the best F1 there, which needs the poisons to be known.
        by_percentile: By the percentile of the rules, which does not.
    """

    by_f1: CrossCategory
    by_percentile: CrossCategory

    def values(self) -> tuple[Value, ...]:
        """Return the three measures of every category, their mean and deviation."""
        found = []
        for suffix, table in (
            ("", self.by_f1),
            (", threshold by percentile", self.by_percentile),
        ):
            for metric in METRICS:
                measure = f"{metric}{suffix}"
                found += [
                    Value(measure, fold.category, fold.metrics[metric])
                    for fold in table.folds
                ]
                found.append(Value(measure, "mean", table.mean[metric]))
                found.append(Value(measure, "deviation", table.deviation[metric]))
        return tuple(found)


def table_4(
    evidence: Evidence, poisoned: Sequence[int], rules: PaperRules = DEFAULT_RULES
) -> Table4:
    """Leave each category out once ("Cross-Category Generalization", section 3.2).

    Args:
        evidence: Needs influences under transforms of at least two categories.
        poisoned: Positions of the poisons; at least one.
        rules: The percentile, and how influences are scaled.

    Raises:
        AssayError: There are no influences, one category only or no poison.
    """
    return Table4(
        cross_category(evidence, poisoned, rules, fit="f1"),
        cross_category(evidence, poisoned, rules, fit="percentile"),
    )
