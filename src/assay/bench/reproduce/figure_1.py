"""Figure 1: distribution of influence before and after a transform (section 3.4)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from assay.bench.reproduce.results import Unit, Value
from assay.detectors.evidence import Array, Evidence
from assay.detectors.paper import influences
from assay.detectors.single_transform import chosen_transform
from assay.paper_rules import DEFAULT_RULES, PaperRules

# Bars of the histogram. The paper prints none to count; its peak is a few bars wide.
BINS = 40
BEFORE, AFTER = "before", "after"


@dataclass(frozen=True)
class Histogram:
    """How one set of influences is distributed.

    Attributes:
        name: ``before`` or ``after``.
        counts: Rows in each bin.
        poisons: Poisons in each bin.
        mean: Mean over all rows.
        deviation: Standard deviation over all rows.
    """

    name: str
    counts: tuple[int, ...]
    poisons: tuple[int, ...]
    mean: float
    deviation: float


@dataclass(frozen=True)
class Figure1:
    """The figure.

    Attributes:
        transform: The transform between the two.
        edges: Edges of the bins, one more than there are; the same for both. The
            largest influence under any transform is 1.
        before: Influence on the test inputs as they are.
        after: Influence on the transformed ones.
        turned: Share of the clean rows whose influence changes its sign.
        poisons_turned: Share of the poisons whose influence does.
    """

    transform: str
    edges: tuple[float, ...]
    before: Histogram
    after: Histogram
    turned: float
    poisons_turned: float

    def values(self) -> tuple[Value, ...]:
        """Return moments, and which share of the rows turned; then the bars."""
        found = [
            Value("sign turned", "clean rows", self.turned),
            Value("sign turned", "poisons", self.poisons_turned),
        ]
        sets = (self.before, self.after)
        for one in sets:
            found += [
                Value("mean", one.name, one.mean, Unit.INFLUENCE),
                Value("deviation", one.name, one.deviation, Unit.INFLUENCE),
            ]
        for one in sets:
            for low, rows in zip(self.edges[:-1], one.counts, strict=True):
                measure = f"rows from {low:.6f}"
                found.append(Value(measure, one.name, rows, Unit.ROWS, bar=True))
        return tuple(found)


def _histogram(name: str, values: Array, edges: Array, truth: Array) -> Histogram:
    poisons = values[truth.astype(bool)]
    return Histogram(
        name,
        tuple(np.histogram(values, edges)[0].tolist()),
        tuple(np.histogram(poisons, edges)[0].tolist()),
        float(values.mean()),
        float(values.std()),
    )


def figure_1(
    evidence: Evidence,
    poisoned: Sequence[int],
    rules: PaperRules = DEFAULT_RULES,
    bins: int = BINS,
) -> Figure1:
    """Count rows by their influence before and after the rules' single transform.

    Args:
        evidence: Needs influences on original and transformed test inputs.
        poisoned: Positions of the poisons.
        rules: The transform, and how influences are scaled.
        bins: Bins of equal width, from the lowest influence of both to the highest.

    Raises:
        AssayError: There are no influences, or none under the rules' transform.
    """
    before, sets = influences(evidence, rules)
    transform = chosen_transform(sets, rules.single_transform)
    after = sets[transform]
    truth = np.zeros(len(before))
    truth[list(poisoned)] = 1
    edges = np.histogram_bin_edges(np.concatenate([before, after]), bins)
    turned = np.sign(before) * np.sign(after) < 0
    clean = turned[truth == 0]
    bad = turned[truth == 1]
    return Figure1(
        transform,
        tuple(edges.tolist()),
        _histogram(BEFORE, before, edges, truth),
        _histogram(AFTER, after, edges, truth),
        float(clean.mean()) if len(clean) else 0.0,
        float(bad.mean()) if len(bad) else 0.0,
    )
