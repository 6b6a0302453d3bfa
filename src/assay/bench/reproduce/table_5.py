"""Table 5: how many of the top K are poisons (section 3.5)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from assay.bench.metrics import true_poison_rates
from assay.bench.reproduce.results import Value
from assay.detectors import detect
from assay.detectors.evidence import Evidence
from assay.paper_rules import DEFAULT_RULES, PaperRules

# The numbers of rows that the paper's table has.
KS = (10, 20, 30, 40, 50, 100)


@dataclass(frozen=True)
class Table5:
    """The table.

    Attributes:
        rates: Number of rows to the share of poisons among so many.
    """

    rates: Mapping[int, float]

    def values(self) -> tuple[Value, ...]:
        """Return the rates."""
        return tuple(
            Value("true poison rate", f"top {k}", rate)
            for k, rate in self.rates.items()
        )


def table_5(
    evidence: Evidence,
    poisoned: Sequence[int],
    rules: PaperRules = DEFAULT_RULES,
    ks: Sequence[int] = KS,
) -> Table5:
    """Rank rows by the strength that one transform leaves (section 3.5).

    "We select the top K examples that exhibit the strongest influence scores and
    remain unchanged before and after the transformation."

    Args:
        evidence: Needs influences on original and transformed test inputs.
        poisoned: Positions of the poisons.
        rules: The transform, and how influences are scaled.
        ks: Numbers of rows; those that there are not so many rows for are left out.

    Raises:
        AssayError: There are no influences, or none under the rules' transform.
    """
    scores = detect("single-transform", evidence, rules).scores
    fitting = [k for k in ks if k <= len(scores)]
    return Table5(true_poison_rates(scores, poisoned, fitting))
