"""The run folder: what a scan leaves behind, and reading it again."""

from __future__ import annotations

import json
import logging
import platform
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch

import assay
from assay.data.corpus import Corpus
from assay.data.layout import reason
from assay.decisions import read_decisions, row_hash
from assay.detectors import Detection, Evidence
from assay.errors import AssayError
from assay.files import replacing
from assay.findings import Finding, Found, dismissed_in, reported_in

log = logging.getLogger("assay")

RESULTS = (
    "config.json",
    "summary.json",
    "scores.parquet",
    "flags.jsonl",
    "rows.parquet",
    "report.html",
    "options.yaml",
)
UNSURE = ("flag", "keep", "remove")
# Differences between two runs that a message names.
NAMED = 3


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


def earlier_config(run: Path) -> dict[str, Any] | None:
    """Read what the run in a folder was of; None where there is no finished one.

    Raises:
        AssayError: The folder holds files of other origin that a run would replace.
    """
    path = run / "config.json"
    if path.is_file():
        try:
            config = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            config = None
        wanted = {"input", "model", "settings", "key"}
        if isinstance(config, dict) and wanted <= set(config):
            return config
    # A scan that was killed has its evidence, and perhaps some results, but no config.
    elif any(run.glob("evidence-*")):
        return None
    for name in RESULTS:
        if (run / name).exists():
            raise AssayError(
                f"{run / name}: not written by assay, and a scan would replace it; "
                "choose another --out"
            )
    return None


def refuse_other(run: Path, earlier: dict[str, Any], config: dict[str, Any]) -> None:
    """Refuse a folder that holds a run of other data or settings.

    Raises:
        AssayError: It does; the message names what differs.
    """
    if earlier["key"] == config["key"]:
        return
    before, now = (
        {
            "input": c["input"],
            "model": c["model"],
            "queries": c.get("queries"),
            **c["settings"],
            **{f"tuning {name}": v for name, v in (c.get("tuning") or {}).items()},
        }
        for c in (earlier, config)
    )
    changed = [
        f"{name} was {before.get(name)}, now {now.get(name)}"
        for name in {**now, **before}
        if before.get(name) != now.get(name)
    ]
    if before["input"] == now["input"] and earlier.get("data") != config["data"]:
        changed.insert(0, f"the rows of {now['input']} have changed")
    changed = changed or ["the files of the model or the version of assay"]
    more = f", and {len(changed) - NAMED} more" if len(changed) > NAMED else ""
    raise AssayError(
        f"{run}: holds a run of other data or settings "
        f"({'; '.join(changed[:NAMED])}{more}); choose another --out, or give "
        "--overwrite to replace it"
    )


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


def check_rows(corpus: Corpus, run: Path, ids: Iterable[str]) -> None:
    """Check that a run is of these rows.

    Raises:
        AssayError: It is of others.
    """
    scanned = list(ids)
    if scanned != [e.id for e in corpus.examples]:
        raise AssayError(
            f"{run}: its {len(scanned)} rows are not those of {corpus.source} "
            f"({len(corpus)} rows); scan this file first"
        )


def clean(
    corpus: Corpus, run: Path, decisions: Path | None = None, unsure: str = "flag"
) -> tuple[Corpus, Corpus]:
    """Split a corpus into clean and removed rows by a run's flags.

    Args:
        corpus: What was scanned.
        run: Its run folder.
        decisions: File of ``assay review``; what it says of a row counts more than
            the flag.
        unsure: What becomes of rows that it calls unsure: ``flag`` (removed when
            flagged), ``keep`` or ``remove``.

    Raises:
        AssayError: The run or the decisions are missing, damaged, or of other data.
    """
    table = read_scores(run, ["id", "flagged"])
    check_rows(corpus, run, table["id"])
    if unsure not in UNSURE:
        raise AssayError(f"unknown --unsure {unsure!r}; known: {', '.join(UNSURE)}")
    removed = table["flagged"].to_numpy(copy=True)
    if decisions is not None:
        place = {e.id: i for i, e in enumerate(corpus.examples)}
        known = {e.id: row_hash(e.text, e.response) for e in corpus.examples}
        for found in read_decisions(decisions, known).values():
            choice = unsure if found.decision == "unsure" else found.decision
            if choice != "flag":
                removed[place[found.id]] = choice == "remove"
    return (
        corpus.select(np.flatnonzero(~removed).tolist()),
        corpus.select(np.flatnonzero(removed).tolist()),
    )
