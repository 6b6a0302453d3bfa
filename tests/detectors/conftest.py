from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from hypothesis import strategies as st
from numpy.typing import ArrayLike, NDArray

from assay.detectors import CHEAP, DEFAULT, INFLUENCE, Detection, Evidence
from assay.transforms import PAPER_SIX

CATEGORIES = {t.name: t.category for t in PAPER_SIX}
# These read texts and responses, and measure nothing.
TEXT_ONLY = ("association", "response-phrases")
# FastICA's rounding depends on the order of rows; these have test files of their own.
GEOMETRY = (DEFAULT, "hidden-geometry")
OURS = {**{n: d for n, d in CHEAP.items() if n not in GEOMETRY}, **INFLUENCE}


def make_evidence(
    rows: int = 60,
    seed: int = 0,
    influence: dict[str, ArrayLike] | None = None,
    **given: Any,
) -> Evidence:
    """Clean noise; whatever is given takes its place."""
    rng = np.random.default_rng(seed)
    if influence:
        rows = len(np.asarray(next(iter(influence.values()))))
    base = rng.normal(size=rows)
    measured = {
        "texts": [f"text {i}" for i in range(rows)],
        "responses": [("positive", "negative")[i % 2] for i in range(rows)],
        "losses": rng.gamma(2, size=rows).astype(np.float32),
        "features": rng.normal(size=(rows, 30)).astype(np.float32),
        "hidden": rng.normal(size=(rows, 8)).astype(np.float32),
        "influence": {
            n: base + rng.normal(size=rows) for n in ("original", *CATEGORIES)
        },
        "categories": CATEGORIES,
        "survival": -rng.gamma(2, size=rows),
    }
    if influence is not None:
        measured["influence"] = {
            n: np.asarray(v, np.float64) for n, v in influence.items()
        }
    return Evidence(**{**measured, **given})


def permuted(evidence: Evidence, order: Sequence[int]) -> Evidence:
    rows = list(order)
    return replace(
        evidence,
        texts=[evidence.texts[i] for i in rows],
        responses=[evidence.responses[i] for i in rows],
        losses=evidence.losses[rows],
        features=evidence.features[rows],
        hidden=evidence.hidden[rows],
        influence={n: v[rows] for n, v in evidence.influence.items()},
        survival=None if evidence.survival is None else evidence.survival[rows],
    )


def flags(detection: Detection) -> list[int]:
    return np.flatnonzero(detection.flagged).tolist()


def one_hot(rows: int, *at: int, value: float = 1.0) -> NDArray[np.float64]:
    values = np.zeros(rows)
    values[list(at)] = value
    return values


seeds_and_orders = st.tuples(
    st.integers(0, 1000),
    st.integers(2, 60).flatmap(lambda n: st.permutations(range(n))),
)
