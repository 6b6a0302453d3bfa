"""The rows of a report, packed into a few megabytes.

A report has to open anywhere: below 5 MB in all, of which 1.3 MB are the plot library
and the page. Rows get `BUDGET` bytes, gzipped and base64-coded; texts are cut as far as
that takes, and above `MOST` rows a sample stands for the inconspicuous ones. Rows that
are flagged or part of a finding keep their whole text as long as that is possible.
"""

from __future__ import annotations

import base64
import gzip
import json
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from assay.detectors.evidence import response_groups
from assay.report.folder import Run
from assay.util.messages import shortened
from assay.verify.finding import Finding

MOST = 50_000
# So many of the rows beyond those found are the highest-ranked; others are drawn.
TOP = 25_000
BUDGET = 3_400_000
# Characters kept of a text that belongs to no finding, and of one that does, which
# stays whole unless it is very long or there are very many. The first that fit count.
LENGTHS = (
    (1000, 20_000),
    (500, 20_000),
    (300, 20_000),
    (200, 20_000),
    (140, 20_000),
    (100, 20_000),
    (70, 20_000),
    (70, 2000),
    (70, 700),
    (70, 300),
    (40, 150),
    (20, 70),
)


@dataclass(frozen=True)
class Packed:
    """Rows as the page takes them.

    Attributes:
        data: Base64 of gzip of JSON columns.
        shown: Rows included.
        length: Characters kept of a text that belongs to no finding.
        note: What was left out, in words.
    """

    data: str
    shown: int
    length: int
    note: str


def pack(run: Run) -> Packed:
    """Choose rows and lengths of texts that fit, and pack them."""
    found = _found(run)
    chosen, note = _chosen(run, found)
    columns = _columns(run, chosen)
    texts = run.table["text"].to_numpy()[chosen]
    responses = run.table["response"].to_numpy()[chosen]
    sizes = np.array([(len(t), len(r)) for t, r in zip(texts, responses, strict=True)])
    most = float("inf")
    for length, whole in LENGTHS:
        limits = np.where(found[chosen], whole, length)
        kept = int(np.minimum(sizes, limits[:, None]).sum())
        if kept > most and (length, whole) != LENGTHS[-1]:
            continue
        columns |= {
            "text": [shortened(t, n) for t, n in zip(texts, limits, strict=True)],
            **_dictionary(
                [shortened(r, n) for r, n in zip(responses, limits, strict=True)]
            ),
        }
        data = _packed(columns)
        if len(data) <= BUDGET:
            break
        # Numbers do not shrink with the texts, so even this many will not fit.
        most = kept * BUDGET / len(data)
    if (sizes > limits[:, None]).any():
        note += (
            f" Texts of rows that are part of no finding are cut to {length} "
            f"characters, others to {whole:,}."
        )
    return Packed(data, len(chosen), length, note)


def _found(run: Run) -> NDArray[np.bool_]:
    """Rows that are flagged or part of a finding, ``(N,)``."""
    found = run.table["flagged"].to_numpy(bool).copy()
    for finding in run.findings:
        found[list(finding.rows)] = True
        if isinstance(finding, Finding):
            found[list(finding.pattern_rows)] = True
    return found


def _chosen(run: Run, found: NDArray[np.bool_]) -> tuple[NDArray[np.intp], str]:
    """Positions of the rows to include, by rank, and what to say of them."""
    total = len(run.table)
    order = np.argsort(run.table["rank"].to_numpy(), kind="stable")
    if total <= MOST:
        return order, f"All {total:,} rows are here."
    first = order[found[order]][:MOST]
    others = order[~found[order]]
    top = others[: max(0, min(TOP, MOST - len(first)))]
    left = others[len(top) :]
    draw = min(MOST - len(first) - len(top), len(left))
    drawn = np.random.default_rng(0).choice(left, draw, replace=False)
    chosen = np.zeros(total, dtype=bool)
    chosen[np.concatenate([first, top, drawn]).astype(np.intp)] = True
    missing = int(found.sum()) - len(first)
    note = (
        f"{int(chosen.sum()):,} of {total:,} rows are here: "
        + (f"the {len(first):,} highest-ranked of " if missing else "all ")
        + f"{int(found.sum()):,} that are flagged or part of a finding, the "
        f"{len(top):,} highest-ranked others, and {draw:,} drawn at random from the "
        "rest. scores.parquet has all of them."
    )
    return order[chosen[order]], note


def _columns(run: Run, chosen: NDArray[np.intp]) -> dict[str, Any]:
    table = run.table.iloc[chosen]
    place = np.full(len(run.table), -1)
    place[chosen] = np.arange(len(chosen))
    votes = np.zeros(len(chosen), np.int64)
    for bit, name in enumerate(run.detectors):
        votes |= table[f"flagged.{name}"].to_numpy(bool).astype(np.int64) << bit
    group = np.zeros(len(run.table), np.int64)
    for number, rows in enumerate(response_groups(run.table["response"].tolist())):
        group[rows] = number
    members = []
    marks: dict[int, list[tuple[int, int]]] = {}
    for finding in run.findings:
        inside = place[list(finding.rows)]
        members.append(inside[inside >= 0].tolist())
        if not isinstance(finding, Finding):
            continue
        for row in finding.pattern_rows:
            if place[row] >= 0:
                text = str(run.table["text"].iat[row])
                marks.setdefault(int(place[row]), []).extend(
                    finding.pattern.spans(text)
                )
    default_ids = [f"row-{row}" for row in table["row"]]
    ids = table["id"].astype(str).tolist()
    return {
        "id": None if ids == default_ids else ids,
        "row": table["row"].tolist(),
        "rank": table["rank"].tolist(),
        "score": _rounded(run.scores.to_numpy()[chosen], 4),
        "flagged": table["flagged"].astype(int).tolist(),
        "votes": votes.tolist(),
        "group": group[chosen].tolist(),
        "x": _rounded(table["x"].to_numpy(), 3),
        "y": _rounded(table["y"].to_numpy(), 3),
        "influence": {
            name: _rounded(run.influence(name)[chosen], 3) for name in run.query_sets
        },
        "members": members,
        "marks": {row: sorted(set(found)) for row, found in marks.items()},
    }


def _rounded(values: NDArray[Any], digits: int) -> list[float | None]:
    """Significant digits enough to sort and to draw; None where not finite."""
    return [
        float(f"{v:.{digits}g}") if np.isfinite(v) else None for v in values.tolist()
    ]


def _dictionary(values: list[str]) -> dict[str, Any]:
    """Most responses recur: number them."""
    numbers = {value: i for i, value in enumerate(dict.fromkeys(values))}
    return {"response": [numbers[v] for v in values], "responses": list(numbers)}


def _packed(columns: dict[str, Any]) -> str:
    text = json.dumps(columns, separators=(",", ":"), allow_nan=False)
    # A fixed time keeps the report of a run the same, byte for byte.
    return base64.b64encode(gzip.compress(text.encode(), 6, mtime=0)).decode()
