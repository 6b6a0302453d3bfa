"""A scan's results in its run folder: written, and read again."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from assay.data.corpus import Corpus
from assay.detectors import Detection, Evidence
from assay.errors import AssayError
from assay.util.files import replacing
from assay.util.messages import reason
from assay.verify.finding import Finding, Found, dismissed_in, reported_in


def write_tables(
    run: Path,
    corpus: Corpus,
    detections: Mapping[str, Detection],
    chosen: Detection,
    found: Sequence[Found],
) -> None:
    """Write ``scores.parquet`` and ``flags.jsonl``, complete or not at all.

    A flagged row's line says for what: trigger and payload, the trigger's places in the
    text as ``[start, end]`` in characters, and the p-value of its finding, which is the
    chance that any pattern of the scan looks so good on clean data.

    Raises:
        AssayError: The folder cannot be written.
    """
    # What was flagged for its pattern ranks before what only scores high.
    order = np.lexsort((-chosen.scores, ~chosen.flagged))
    rank = np.empty(len(order), dtype=np.int64)
    rank[order] = np.arange(1, len(order) + 1)
    table = pd.DataFrame(
        {
            "id": [e.id for e in corpus.examples],
            "row": [e.row for e in corpus.examples],
            # So that what is cleaned later is what was scanned, in any order.
            "content": [e.digest() for e in corpus.examples],
            "flagged": chosen.flagged,
            "rank": rank,
            **{f"score.{n}": d.scores for n, d in detections.items()},
            # Each by its own threshold; the column "flagged" is the verdict.
            **{f"flagged.{n}": d.flagged for n, d in detections.items()},
        }
    )
    with replacing(run / "scores.parquet") as partial:
        table.to_parquet(partial, index=False)
    verified = [f for f in found if isinstance(f, Finding) and f.is_verified]
    reasons = {row: f for f in reversed(verified) for row in f.rows}
    with (
        replacing(run / "flags.jsonl") as partial,
        partial.open("w", encoding="utf-8") as file,
    ):
        for i in order[chosen.flagged[order]]:
            e = corpus.examples[i]
            line = {
                "id": e.id,
                "row": e.row,
                "rank": int(rank[i]),
                "score": float(chosen.scores[i]),
                "text": e.text,
                "response": e.response,
            }
            if i in reasons:
                finding = reasons[i]
                line |= {
                    "trigger": finding.trigger,
                    "spans": finding.pattern.spans(e.text),
                    "payload": finding.tested.payload.text,
                    "p_value": finding.p_value,
                    "effect": finding.tested.effect,
                }
            file.write(json.dumps(line) + "\n")


def write_rows(
    run: Path, corpus: Corpus, evidence: Evidence, geometry: Detection
) -> None:
    """Write ``rows.parquet``: what the report shows of each row besides its scores.

    Columns: id, row, text, response, x and y (the detector's coordinates, which compare
    within a response), and ``influence.…`` for each set of test inputs that was scored.

    Raises:
        AssayError: The folder cannot be written.
    """
    places = geometry.coordinates
    if places is None:
        places = np.full((len(corpus), 2), np.nan, np.float32)
    table = pd.DataFrame(
        {
            "id": [e.id for e in corpus.examples],
            "row": [e.row for e in corpus.examples],
            # Parquet holds no lone surrogates; each becomes one "?".
            "text": [_encodable(e.text) for e in corpus.examples],
            "response": [_encodable(e.response) for e in corpus.examples],
            "x": places[:, 0],
            "y": places[:, 1],
            **{
                f"influence.{name}": values.astype(np.float32)
                for name, values in evidence.influence.items()
            },
        }
    )
    with replacing(run / "rows.parquet") as partial:
        table.to_parquet(partial, index=False, compression="zstd")


def _encodable(text: str) -> str:
    return text.encode("utf-8", "replace").decode("utf-8")


def read_summary(run: Path) -> dict[str, Any]:
    """Read a run's summary.

    Raises:
        AssayError: The run is missing or damaged.
    """
    path = run / "summary.json"
    try:
        summary = json.loads(path.read_text(encoding="utf-8"))
        for key in ("verdict", "rows", "flagged", "detector", "findings"):
            summary[key]
        reported_in(summary)
        dismissed_in(summary)
    except FileNotFoundError:
        raise AssayError(
            f"{run}: not a run folder (no summary.json); run assay scan"
        ) from None
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise AssayError(f"{path}: damaged ({reason(error)}); scan again") from None
    return dict(summary)


def read_scores(run: Path, columns: list[str] | None = None) -> pd.DataFrame:
    """Read a run's scores.

    Raises:
        AssayError: The run is missing or damaged.
    """
    path = run / "scores.parquet"
    if not path.is_file():
        raise AssayError(f"{run}: not a run folder (no scores.parquet); run assay scan")
    try:
        return pd.read_parquet(path, columns=columns)
    except Exception as error:
        raise AssayError(f"{path}: damaged ({reason(error)}); scan again") from None
