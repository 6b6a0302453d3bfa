"""The run folder: what a scan leaves behind, and reading it again."""

from __future__ import annotations

import json
import logging
import platform
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pandas as pd
import torch

import assay
from assay.data.corpus import Corpus
from assay.detectors import Detection, Evidence
from assay.errors import AssayError
from assay.files import replacing
from assay.verify.pattern import spans

log = logging.getLogger("assay")


def versions() -> dict[str, str]:
    """Versions a result depends on."""
    import sklearn
    import transformers

    return {
        "assay": assay.__version__,
        "python": platform.python_version(),
        "torch": torch.__version__,
        "transformers": transformers.__version__,
        "scikit-learn": sklearn.__version__,
    }


@contextmanager
def logged(run: Path) -> Iterator[None]:
    """Keep a copy of the log in the run folder."""
    try:
        run.mkdir(parents=True, exist_ok=True)
        handler = logging.FileHandler(run / "log.txt", encoding="utf-8")
    except OSError as error:
        raise AssayError(f"{run}: cannot be written ({error.strerror})") from None
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
    log.addHandler(handler)
    level = log.level
    log.setLevel(min(level or logging.INFO, logging.INFO))
    try:
        yield
    finally:
        log.setLevel(level)
        log.removeHandler(handler)
        handler.close()


def write_tables(
    run: Path, corpus: Corpus, detections: Mapping[str, Detection], chosen: Detection
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
            "flagged": chosen.flagged,
            "rank": rank,
            **{f"score.{n}": d.scores for n, d in detections.items()},
            # Each by its own threshold; the column "flagged" is the verdict.
            **{f"flagged.{n}": d.flagged for n, d in detections.items()},
        }
    )
    with replacing(run / "scores.parquet") as partial:
        table.to_parquet(partial, index=False)
    verified = [f for f in chosen.findings if f.get("verified")]
    reasons = {row: f for f in reversed(verified) for row in f["rows"]}
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
                f = reasons[i]
                line |= {
                    "trigger": f["trigger"],
                    "spans": spans(e.text, f["pattern"]),
                    "payload": f["payload"],
                    "p_value": f["p_value"],
                    "effect": f["effect"],
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


def clean(corpus: Corpus, run: Path) -> tuple[Corpus, Corpus]:
    """Split a corpus into clean and removed rows by a run's flags.

    Raises:
        AssayError: The run is missing, damaged, or of other data.
    """
    path = run / "scores.parquet"
    if not path.is_file():
        raise AssayError(f"{run}: not a run folder (no scores.parquet); run assay scan")
    try:
        table = pd.read_parquet(path, columns=["id", "flagged"])
    except Exception as error:
        reason = " ".join(str(error).split())[:120]
        raise AssayError(f"{path}: damaged ({reason}); scan again") from None
    if list(table["id"]) != [e.id for e in corpus.examples]:
        raise AssayError(
            f"{run}: its {len(table)} rows are not those of {corpus.source} "
            f"({len(corpus)} rows); scan this file first"
        )
    flagged = table["flagged"].to_numpy()
    return (
        corpus.select(np.flatnonzero(~flagged).tolist()),
        corpus.select(np.flatnonzero(flagged).tolist()),
    )
