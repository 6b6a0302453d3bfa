"""Reading a run folder."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from assay.errors import AssayError
from assay.runs.folder import EVALUATION
from assay.util.messages import reason
from assay.verify.finding import Finding, Found, dismissed_in, reported_in


@dataclass(frozen=True)
class Run:
    """What a scan left behind.

    Attributes:
        folder: The run folder.
        summary: ``summary.json``.
        config: ``config.json``.
        table: ``scores.parquet`` and ``rows.parquet`` side by side, one line a row.
        evaluation: ``evaluation.json``: model to measure to ``value``, ``low`` and
            ``high``, as ``assay evaluate --json`` prints; empty where there is none.
    """

    folder: Path
    summary: dict[str, Any]
    config: dict[str, Any]
    table: pd.DataFrame
    evaluation: dict[str, dict[str, Any]]

    @cached_property
    def findings(self) -> list[Found]:
        """What was found and not dismissed."""
        return reported_in(self.summary)

    @cached_property
    def dismissed(self) -> list[Finding]:
        """What was looked into and came to nothing."""
        return dismissed_in(self.summary)

    @property
    def detectors(self) -> list[str]:
        """Detectors whose scores the run has."""
        prefix = "score."
        return [c[len(prefix) :] for c in map(str, self.table) if c.startswith(prefix)]

    @property
    def query_sets(self) -> list[str]:
        """Sets of test inputs whose influences were measured, the original first."""
        prefix = "influence."
        return [c[len(prefix) :] for c in map(str, self.table) if c.startswith(prefix)]

    @property
    def scores(self) -> pd.Series[float]:
        """Scores of the detector whose flags count."""
        return self.table[f"score.{self.summary['detector']}"]

    def influence(self, name: str) -> NDArray[np.float64]:
        """Rows' influence on a set of test inputs, in standard deviations over rows."""
        values = self.table[f"influence.{name}"].to_numpy(np.float64)
        finite = np.nan_to_num(values, nan=0, posinf=0, neginf=0)
        return np.asarray(values / max(float(finite.std()), 1e-30))


def read_run(folder: Path) -> Run:
    """Read a run folder.

    Raises:
        AssayError: It is not one, is damaged, or was left by an older assay.
    """
    if not (folder / "summary.json").is_file():
        raise AssayError(
            f"{folder}: not a run folder (no summary.json); run assay scan"
        )
    if not (folder / "rows.parquet").is_file():
        raise AssayError(
            f"{folder}: made by an older assay (no rows.parquet); scan again with "
            f"--out {folder}"
        )
    scores, rows = (_table(folder / f"{n}.parquet") for n in ("scores", "rows"))
    if not {"id", "row", "text", "response", "x", "y"} <= set(rows) or list(
        scores["id"]
    ) != list(rows["id"]):
        raise AssayError(
            f"{folder}: rows.parquet and scores.parquet are not of one scan; scan again"
        )
    more = rows.drop(columns=["id", "row"])
    path = folder / EVALUATION
    run = Run(
        folder,
        _json(folder / "summary.json"),
        _json(folder / "config.json"),
        pd.concat([scores, more], axis=1),
        _evaluation(path) if path.is_file() else {},
    )
    try:
        assert len(run.table) == run.summary["rows"]
        assert run.summary["verdict"]
        assert run.summary["timings"] is not None
        assert len(run.scores) == len(run.table)
    except (AssertionError, KeyError):
        raise AssayError(
            f"{folder}: summary.json does not describe scores.parquet; scan again"
        ) from None
    return run


def _table(path: Path) -> pd.DataFrame:
    try:
        table = pd.read_parquet(path)
    except Exception as error:
        raise AssayError(f"{path}: damaged ({reason(error)}); scan again") from None
    if "id" not in table:
        raise AssayError(f"{path}: damaged (no column id); scan again")
    return table


def _json(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise AssayError(f"{path}: damaged ({reason(error)}); scan again") from None
    if not isinstance(found, dict):
        raise AssayError(f"{path}: damaged (not an object); scan again")
    return found


def _evaluation(path: Path) -> dict[str, dict[str, Any]]:
    # The measures of single tasks are too many for a table of models.
    found = {
        model: {name: rate for name, rate in measures.items() if name != "tasks"}
        if isinstance(measures, dict)
        else measures
        for model, measures in _json(path).items()
    }
    rates = [
        rate.get("value") if isinstance(rate, dict) else None
        for measures in found.values()
        for rate in (measures.values() if isinstance(measures, dict) else [None])
    ]
    if not all(isinstance(value, int | float) for value in rates):
        raise AssayError(
            f"{path}: expected what assay evaluate --json prints: model to measure "
            'to {"value": …}; mend or delete it'
        )
    return found
