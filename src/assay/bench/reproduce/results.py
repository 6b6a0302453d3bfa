"""What all items share: a figure with its name, and counts of what a rule flags."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

import numpy as np

from assay.bench.metrics import agreement
from assay.detectors.evidence import Mask


class Unit(StrEnum):
    """How a figure is shown.

    Attributes:
        SHARE: From 0 to 1, shown in percent.
        ROWS: A number of rows.
        INFLUENCE: An influence, the largest under any transform being 1.
    """

    SHARE = "share"
    ROWS = "rows"
    INFLUENCE = "influence"


@dataclass(frozen=True)
class Value:
    """One figure of ours.

    Attributes:
        measure: What was measured.
        of: Of what: a rule, a category, a number of rows.
        value: The figure.
        unit: How it is shown.
        bar: Whether it is a bar of a plot: in the files, but not on the page.
    """

    measure: str
    of: str
    value: float
    unit: Unit = Unit.SHARE
    bar: bool = False


class Result(Protocol):
    """What an item is computed to."""

    def values(self) -> tuple[Value, ...]:
        """Return the figures, in the order in which they are shown."""


@dataclass(frozen=True)
class Counts:
    """What a rule flags, against the truth.

    Attributes:
        rows: Rows in all.
        poisons: Poisons among them.
        flagged: Rows that are flagged.
        true: Poisons among those.
        precision: Share of poisons among the flagged rows; 0 without any.
        recall: Share of the poisons that are flagged.
        f1: Harmonic mean of the two.
    """

    rows: int
    poisons: int
    flagged: int
    true: int
    precision: float
    recall: float
    f1: float

    @property
    def accuracy(self) -> float:
        """Share of rows that are flagged if poisons and left alone if not."""
        wrong = (self.flagged - self.true) + (self.poisons - self.true)
        return (self.rows - wrong) / self.rows

    def values(self, of: str, *shares: str) -> list[Value]:
        """Return figures of these names, and how many rows are flagged.

        Args:
            of: Of what they are.
            shares: Names of the shares.
        """
        found = [Value(name, of, getattr(self, name)) for name in shares]
        return [*found, Value("flagged", of, self.flagged, Unit.ROWS)]


def counts(flagged: Mask, poisoned: Sequence[int]) -> Counts:
    """Count what a rule finds.

    Args:
        flagged: Which rows it flags, ``(N,)``.
        poisoned: Positions of the poisons.
    """
    found = np.flatnonzero(flagged).tolist()
    true = len(set(found) & set(poisoned))
    return Counts(
        len(flagged),
        len(set(poisoned)),
        len(found),
        true,
        **agreement(found, poisoned),
    )
