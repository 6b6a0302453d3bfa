"""Section 3.8: the rows of lowest influence, the rule that TinyLlama was given."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from assay.bench.reproduce.results import Counts, Value, counts
from assay.detectors import detect
from assay.detectors.evidence import Evidence
from assay.paper_rules import DEFAULT_RULES, PaperRules

# What the paper says, and what its figures fit: see `assay.detectors.low_influence`.
SHARES = (0.15, 0.85)


@dataclass(frozen=True)
class LowShare:
    """The rule with one share.

    Attributes:
        share: Share of the rows, lowest influence first.
        counts: What is flagged.
    """

    share: float
    counts: Counts


@dataclass(frozen=True)
class Section38:
    """The rule with the share that the paper says, and the one that its figures fit.

    Attributes:
        shares: The rule with each.
    """

    shares: tuple[LowShare, ...]

    def values(self) -> tuple[Value, ...]:
        """Return the paper's three measures, and how many rows are flagged."""
        measured = []
        for low in self.shares:
            of = f"lowest {100 * low.share:.0f} %"
            measured += low.counts.values(of, "recall", "precision", "f1")
        return tuple(measured)


def section_3_8(
    evidence: Evidence, poisoned: Sequence[int], rules: PaperRules = DEFAULT_RULES
) -> Section38:
    """Flag the rows of lowest influence ("15% low", section 3.8).

    Args:
        evidence: Needs influences on original and transformed test inputs.
        poisoned: Positions of the poisons.
        rules: How influences are scaled.

    Raises:
        AssayError: There are no influences.
    """
    return Section38(
        tuple(
            LowShare(
                share,
                counts(
                    detect(
                        "low-influence", evidence, replace(rules, low_share=share)
                    ).flagged,
                    poisoned,
                ),
            )
            for share in SHARES
        )
    )
