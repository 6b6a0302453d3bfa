"""The parameters of the paper's rules."""

from __future__ import annotations

from dataclasses import dataclass

from assay.errors import AssayError
from assay.util.ranges import check_settings

# Which rows the combined rule flags, and how influences of different sets compare.
COMBINE = ("union", "intersection")
SCALING = ("none", "deviations")


@dataclass(frozen=True)
class PaperRules:
    """What the paper's rules may be told; `assay.settings.ScanSettings` has the same.

    Attributes:
        top_k: Rows that a rule flags; in place of the percentile where given. Unit:
            rows. Reason: the paper gives its results by K as well. Source: Table 5
            (10 to 100), section 3.3 (voting), section 3.4 (variance: 50).
        percentile: Rows at or over this percentile are flagged where no K is given.
            Unit: percent of the rows. Reason: 95 are the 50 of 1,000 rows that the
            paper's variance rule flags, by Table 3's precision and recall. Source:
            section 3.3 ("top percentile", without a number).
        votes: Categories that have to vote for a row; all of them where there are
            fewer. Unit: categories of transforms. Reason: the least that is "multiple",
            and most of three. Source: section 3.3 ("across multiple transform
            categories", without a number).
        combine: ``union`` or ``intersection`` of what the three rules flag. Reason:
            only the union can be as large as what the paper flags, 100 of 1,000 rows
            where variance flags 50. Source: Table 3 ("Combined", not defined).
        single_transform: The transform of the single-transform rule; by default the
            first measured of ``sorry-not`` (section 3.4), ``opposite`` (section 3.5)
            and ``grammatical-negation``, or else the first by name.
        low_share: Share of rows, lowest influence first, that the low-influence rule
            flags. Unit: share of the rows. Reason: the paper's. Source: section 3.8
            ("15% low"); the figures it prints are those of 0.85, see
            `assay.detectors.low_influence`.
        scaling: ``none`` compares influences as they are, as the paper does;
            ``deviations`` divides those of a set by their standard deviation over
            rows first, which is ours.
    """

    top_k: int | None = None
    percentile: float = 95.0
    votes: int = 2
    combine: str = "union"
    single_transform: str | None = None
    low_share: float = 0.15
    scaling: str = "none"

    def __post_init__(self) -> None:
        """Check types, ranges and choices.

        Raises:
            AssayError: A value is of the wrong type, out of its range or unknown.
        """
        check_settings(self)
        for name, known in (("combine", COMBINE), ("scaling", SCALING)):
            value = getattr(self, name)
            if value not in known:
                raise AssayError(f"unknown {name} {value!r}; known: {', '.join(known)}")


DEFAULT_RULES = PaperRules()
