"""What a report says of each finding."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import median
from typing import Any

import numpy as np
from numpy.typing import NDArray

from assay.report.folder import Run
from assay.report.texts import pieces, shortened
from assay.text.pattern import Pattern
from assay.verify.causal import beyond_half
from assay.verify.finding import Experiment, Finding, Found, Status
from assay.verify.retraining import rows_are_right
from assay.verify.thresholds import SPREADS, SURE

EXAMPLES = 10
CONTRAST = 5
# Characters shown of an example; the table has the whole text.
LENGTH = 400
BINS = 40

STATUS = {
    Status.VERIFIED: "verified trigger",
    Status.SUFFICIENT: "strong words, not flagged: their own rows do not need them",
}


def cards(run: Run) -> list[dict[str, Any]]:
    """Describe every finding that was not dismissed, for the template."""
    return [_card(run, number, f) for number, f in enumerate(run.findings)]


def dismissed_line(finding: Finding) -> dict[str, Any]:
    """Describe a pattern that came to nothing, for the template's table."""
    return {
        "pattern": str(finding.pattern),
        "rows": len(finding.pattern_rows),
        "effect": finding.experiment.effect if finding.experiment else None,
        "p_value": finding.p_value,
        "proposer": finding.candidate.proposer,
        "why": why_dismissed(finding),
    }


def why_dismissed(finding: Finding) -> str:
    """Say why a pattern is no reason for suspicion."""
    experiment = finding.experiment
    if experiment is None:
        return "no response and no phrase goes with them"
    if finding.shortcut is not None:
        keeps = finding.shortcut.keeps
        return f"without their rows they keep {keeps:.0%} of their power"
    if finding.retraining is not None and rows_are_right(finding.retraining):
        against, of = finding.retraining.contradicted
        return f"a model tuned without their rows agrees with {of - against} of {of}"
    if experiment.prefers < SPREADS:
        return f"they turn {experiment.prefers:.0%} of other rows"
    needed, own = experiment.overridden
    if needed < own < SURE:
        return f"only {own} rows, and {own - needed} of them do not need them"
    return "placebos do as much"


def _card(run: Run, number: int, found: Found) -> dict[str, Any]:
    rows = np.array(found.rows, np.intp)
    finding = found if isinstance(found, Finding) else None
    pattern = finding.pattern if finding else None
    flagged = run.table["flagged"].to_numpy(bool)
    card = {
        "number": number,
        "title": shortened(finding.trigger, 200) if finding else "",
        "where": pattern.where if pattern else "",
        "payload": "",
        "says": "",
        "status": "flagged",
        "status_text": "flagged without an experiment",
        "proposer": (finding and finding.candidate.proposer) or run.summary["detector"],
        "rows": len(rows),
        "share": len(rows) / len(run.table),
        "cost": _cost(run, rows, flagged),
        "examples": [_example(run, i, pattern) for i in _ranked(run, rows, EXAMPLES)],
        "lacking": [],
        "otherwise": [],
    }
    if finding is None:
        return card
    card |= _contrast(run, finding, rows)
    if finding.experiment is not None:
        card |= _tested(finding, finding.experiment)
    return card


def _contrast(run: Run, finding: Finding, rows: NDArray[np.intp]) -> dict[str, Any]:
    """Rows of the same response without the words, and rows with them, kept."""
    carriers = np.array(finding.pattern_rows, np.intp)
    near = _nearest_without(run, rows, carriers)
    kept = np.setdiff1d(carriers, rows)
    return {
        "lacking": [_example(run, i, None) for i in near],
        "kept": len(kept),
        "otherwise": [
            _example(run, i, finding.pattern) for i in _ranked(run, kept, CONTRAST)
        ],
    }


def _tested(finding: Finding, experiment: Experiment) -> dict[str, Any]:
    """What experiments say of a finding."""
    shown: dict[str, Any] = {
        "payload": shortened(experiment.payload.text, 400),
        "says": experiment.payload.verb,
        "status": finding.status.value,
        "status_text": STATUS[finding.status],
        "effect": experiment.effect,
        "effect_interval": list(experiment.interval),
        "drop": experiment.drop,
        "prefers": experiment.prefers,
        "p_value": finding.shown_p_value,
        "companions": list(experiment.companions),
        "placebos": len(experiment.placebo_effects),
        "placebo_median": _plain(median(experiment.placebo_effects)),
        "plot": placebo_plot(
            experiment.effect, experiment.interval, experiment.placebo_effects
        ),
    }
    if finding.enough is not None:
        shown["minimal"] = shortened(finding.enough, 200)
    if finding.retraining is not None:
        shown["contradicted"] = list(finding.retraining.contradicted)
    if finding.shortcut is not None:
        shown["shortcut"] = finding.shortcut.to_dict()
        if finding.is_verified and beyond_half(*finding.shortcut.agrees):
            shown["status_text"] = "verified trigger, in rows labelled rightly"
    return shown


def _plain(value: float) -> float:
    """Round as shown, without the sign of a zero."""
    return round(value, 2) if abs(value) >= 0.05 else 0.0


def _cost(run: Run, rows: NDArray[np.intp], flagged: NDArray[np.bool_]) -> str:
    """Say what removing these rows takes away, in words."""
    share = (
        f"{len(rows):,} of {len(run.table):,} rows ({len(rows) / len(run.table):.1%})"
    )
    responses = run.table["response"]
    same = responses.iloc[rows].value_counts()
    if len(same) == 1:
        total = int((responses == same.index[0]).sum())
        share += (
            f", which are {len(rows) / total:.1%} of the rows answered "
            f"“{shortened(str(same.index[0]), 60)}”"
        )
    if flagged[rows].all():
        return f"Removing them costs {share}."
    return f"They are kept. Removing them would cost {share}."


def _ranked(run: Run, rows: NDArray[np.intp], most: int) -> list[int]:
    ranks = run.table["rank"].to_numpy()[rows]
    return [int(i) for i in rows[np.argsort(ranks)][:most]]


def _nearest_without(
    run: Run, rows: NDArray[np.intp], carriers: NDArray[np.intp]
) -> list[int]:
    """Rows of the same response without the pattern, nearest on the map first."""
    if not len(rows):
        return []
    responses = run.table["response"]
    places = run.table[["x", "y"]].to_numpy(np.float64)
    common = responses.iloc[rows].mode()[0]
    other = np.setdiff1d(np.flatnonzero(responses == common), carriers)
    if not len(other):
        # In open-ended data no two rows need share a response.
        other = np.setdiff1d(np.arange(len(run.table)), carriers)
    other = other[~run.table["flagged"].to_numpy(bool)[other]]
    # Rows without a place lie at the origin, and so do all where there is no map.
    places = np.nan_to_num(places)
    centre = np.median(places[rows], axis=0)
    distances = ((places[other] - centre) ** 2).sum(1)
    order = np.argsort(distances, kind="stable")
    return [int(i) for i in other[order][:CONTRAST]]


def _example(run: Run, row: int, pattern: Pattern | None) -> dict[str, Any]:
    line = run.table.iloc[row]
    places = pattern.spans(line["text"]) if pattern else []
    return {
        "id": shortened(str(line["id"]), 60),
        "row": int(line["row"]),
        "pieces": pieces(line["text"], places, LENGTH),
        "response": pieces(line["response"], [], LENGTH),
    }


def placebo_plot(
    effect: float, interval: Sequence[float], placebos: Sequence[float]
) -> dict[str, Any]:
    """Lay out the effect against its placebos, in units of a 640 × 136 drawing."""
    low = min(0.0, *placebos, interval[0])
    high = max(0.0, *placebos, interval[1], effect)
    span = (high - low) or 1.0
    left, width, base, tall = 20.0, 600.0, 110.0, 70.0

    def x(value: float) -> float:
        return round(left + width * (value - low) / span, 1)

    counts, edges = np.histogram(placebos, BINS, (low, low + span))
    # Square roots, so that a single placebo can still be seen.
    heights = np.sqrt(counts / max(counts.max(), 1)) * tall
    bars = [
        {
            "x": x(edge),
            "y": round(base - float(height), 1),
            "height": round(float(height), 1),
        }
        for edge, height, count in zip(edges, heights, counts, strict=False)
        if count
    ]
    return {
        "bars": bars,
        "bar_width": round(width / BINS - 1, 1),
        "base": base,
        "zero": x(0),
        "effect": x(effect),
        "low": x(interval[0]),
        "high": x(interval[1]),
        "ticks": [
            {"x": x(value), "label": f"{_plain(value):.1f}"}
            for value in np.linspace(low, low + span, 5).tolist()
        ],
    }
