"""The figures that the paper prints. They are shown beside ours and never used in them.

Shares are as the paper prints them, in hundredths of 1: its 66 % is 0.66.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Printed:
    """One figure of the paper.

    Attributes:
        where: Table, figure or section that prints it.
        measure: What was measured, as our results name it.
        of: Of what: a rule, a category, a number of rows.
        value: The figure.
    """

    where: str
    measure: str
    of: str
    value: float


def _table(
    where: str, columns: tuple[str, ...], rows: Mapping[str, tuple[float | None, ...]]
) -> tuple[Printed, ...]:
    return tuple(
        Printed(where, measure, of, value)
        for measure, values in rows.items()
        for of, value in zip(columns, values, strict=True)
        if value is not None
    )


TABLE_3 = _table(
    "Table 3",
    ("single", "variance", "voting", "combined"),
    {
        "recall": (1.0, 1.0, 0.91, 1.0),
        "precision": (0.035, 0.66, 1.0, 0.33),
        "f1": (0.067, 0.795, 0.952, 0.496),
        # The paper prints a dash for the single transform.
        "accuracy": (None, 0.983, 0.950, 0.933),
    },
)
TABLE_4 = (
    *_table(
        "Table 4",
        ("lexicon", "semantic", "structural", "mean"),
        {
            "precision": (0.71, 0.83, 0.81, 0.79),
            "recall": (0.97, 0.98, 0.92, 0.96),
            "f1": (0.82, 0.90, 0.87, 0.86),
        },
    ),
    Printed("Section 3.7", "f1", "deviation", 0.052),
)
# On GSM8K, with the transform "opposite".
TABLE_5 = tuple(
    Printed("Table 5", "true poison rate", f"top {k}", rate)
    for k, rate in (
        (10, 0.60),
        (20, 0.40),
        (30, 0.30),
        (40, 0.275),
        (50, 0.22),
        (100, 0.15),
    )
)
# On SuperNaturalInstructions, with the transform "sorry-not".
SECTION_3_4 = (
    Printed("Section 3.4", "flagged", "single", 653),
    Printed("Section 3.4", "true poisons", "single", 23),
    Printed("Section 3.4", "precision", "single", 0.035),
)
# On TinyLlama, 5 % of the rows poisoned.
SECTION_3_8 = (
    Printed("Section 3.8", "recall", "lowest 15 %", 1.0),
    Printed("Section 3.8", "precision", "lowest 15 %", 0.059),
    Printed("Section 3.8", "f1", "lowest 15 %", 0.111),
)

# Item to what the paper prints of it. Figure 1 has no figures in print; figure 3 plots
# those of table 3.
PRINTED: Mapping[str, tuple[Printed, ...]] = {
    "table-3": TABLE_3,
    "table-4": TABLE_4,
    "table-5": TABLE_5,
    "figure-1": (),
    "figure-3": TABLE_3,
    "section-3.4": SECTION_3_4,
    "section-3.8": SECTION_3_8,
}
