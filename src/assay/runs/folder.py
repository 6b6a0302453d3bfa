"""The run folder: what a scan leaves behind, and reading it again."""

from __future__ import annotations

import json
import logging
import os
import platform
from collections import defaultdict, deque
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from datetime import datetime
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray

import assay
from assay.util.crash import kept_in
from assay.data.corpus import DIGEST, Corpus
from assay.util.messages import reason
from assay.runs.decisions import read_decisions, row_hash
from assay.detectors import Detection, Evidence
from assay.errors import AssayError
from assay.util.files import replacing
from assay.verify.finding import Finding, Found, dismissed_in, reported_in
from assay.util.escape import visible

log = logging.getLogger("assay")

# What `assay evaluate --json` printed, put there by the user or the demonstration.
EVALUATION = "evaluation.json"
RESULTS = (
    "config.json",
    "summary.json",
    "scores.parquet",
    "flags.jsonl",
    "rows.parquet",
    "report.html",
    "options.yaml",
)
LOG = "log.txt"
FACTORS = "factors.safetensors"
# Folders of models that a scan tunes: first, and to decide by retraining.
PROXY = "proxy"
WITHOUT = "without"
# Not before the first line of a log says so does a scan write to it, or take a folder
# for its own.
LOG_HEADER = "# Written by assay: what it said while scanning into this folder."
UNSURE = ("flag", "keep", "remove")
# Differences between two runs that a message names.
NAMED = 3


def files_of(run: Path) -> list[Path]:
    """Files of a run that nothing but a scan replaces."""
    names = (*RESULTS, LOG, EVALUATION, FACTORS)
    return [run / name for name in names]


@contextmanager
def new_run() -> Iterator[Path]:
    """Make a run folder that nobody else has, ``runs/DATE`` in the working directory.

    Where the block raises before anything is written, the folder goes again.

    Raises:
        AssayError: It cannot be made.
    """
    name = datetime.now().strftime("%Y-%m-%d-%H%M%S")
    for number in count(1):
        path = Path("runs") / (name if number == 1 else f"{name}-{number}")
        try:
            path.mkdir(parents=True)
            break
        except FileExistsError:
            # Another scan began in the same second.
            continue
        except OSError as error:
            raise AssayError(
                f"{path}: cannot be written ({reason(error)}); name a run folder"
            ) from None
    try:
        yield path
    except BaseException:
        with suppress(OSError):
            path.rmdir()
        raise


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


class _LogFormatter(logging.Formatter):
    """Lines of a log, with what is invisible in them made visible."""

    def __init__(self) -> None:
        super().__init__("%(asctime)s %(levelname)s %(message)s")

    def format(self, record: logging.LogRecord) -> str:
        lines = super().format(record).split("\n")
        return "\n".join(map(visible, lines))


@contextmanager
def logged(run: Path) -> Iterator[None]:
    """Keep a copy of the log in the run folder, with the traceback of a fault.

    Raises:
        AssayError: The folder cannot be written.
    """
    path = run / LOG
    try:
        run.mkdir(parents=True, exist_ok=True)
        with path.open("a", encoding="utf-8") as file:
            if not file.tell():
                file.write(LOG_HEADER + "\n")
        handler = logging.FileHandler(path, encoding="utf-8")
    except OSError as error:
        raise AssayError(f"{run}: cannot be written ({error.strerror})") from None
    handler.setFormatter(_LogFormatter())
    log.addHandler(handler)
    level = log.level
    log.setLevel(min(level or logging.INFO, logging.INFO))
    try:
        yield
    except AssayError:
        raise
    except Exception as error:
        # To the file alone: the caller decides what is said of it.
        handler.handle(
            log.makeRecord(
                *(log.name, logging.ERROR, __file__, 0, "a fault of assay", ()),
                (type(error), error, error.__traceback__),
            )
        )
        kept_in(error, path)
        raise
    finally:
        log.setLevel(level)
        log.removeHandler(handler)
        handler.close()


def earlier_config(run: Path) -> dict[str, Any] | None:
    """Read what the run in a folder was of; None where there is no finished one.

    Raises:
        AssayError: The folder holds files of other origin that a run would replace,
            add to or delete.
    """
    path = run / "config.json"
    own_log = _is_own_log(run / LOG)
    if path.is_file():
        try:
            config = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            config = None
        wanted = {"input", "model", "settings", "key"}
        if isinstance(config, dict) and wanted <= set(config):
            return config
    # A scan that was killed has its log, and perhaps some results, but no config.
    elif own_log:
        return None
    for name in (*RESULTS, EVALUATION, FACTORS, PROXY, WITHOUT):
        if (run / name).exists():
            raise AssayError(
                f"{run / name}: not written by assay, and a scan would replace it; "
                "choose another --out"
            )
    return None


def _is_own_log(path: Path) -> bool:
    """Whether a scan has written a log here.

    Raises:
        AssayError: There is a file of another origin, to which nothing may be added.
    """
    if not os.path.lexists(path):
        return False
    try:
        # Killed right after it was made, a log is empty.
        if path.is_file() and not path.stat().st_size:
            return False
        if path.is_file():
            with path.open("rb") as file:
                if file.readline(200).rstrip() == LOG_HEADER.encode():
                    return True
    except OSError as error:
        raise AssayError(f"{path}: cannot be read ({reason(error)})") from None
    raise AssayError(
        f"{path}: not written by assay (its first line is not {LOG_HEADER!r}), and a "
        "scan would add to it; choose another --out, or rename that file"
    )


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


def scanned_places(corpus: Corpus, run: Path) -> NDArray[np.int64]:
    """Find the row of a run that each example is, by its content.

    Rows may stand in another order than when they were scanned, and under other ids.

    Args:
        corpus: What was scanned.
        run: Its run folder.

    Returns:
        Positions in the run's tables, ``(N,)``.

    Raises:
        AssayError: The run is missing or damaged, or of other rows.
    """
    names, contents = _scanned(run)
    mine = [
        e.digest() if len(contents[0]) == DIGEST else row_hash(e.text, e.response)
        for e in corpus.examples
    ]
    if mine == contents and names == [e.id for e in corpus.examples]:
        return np.arange(len(mine))
    other = (
        f"{run}: its {len(contents)} rows are not those of {corpus.source} "
        f"({len(mine)} rows)"
    )
    places: dict[str, deque[int]] = defaultdict(deque)
    for place, content in enumerate(contents):
        places[content].append(place)
    # Of rows with the same content, those with the same id belong together.
    ids = {(c, n): i for i, (c, n) in enumerate(zip(contents, names, strict=True))}
    found = []
    for example, content in zip(corpus.examples, mine, strict=True):
        left = places[content]
        if not left:
            raise AssayError(
                f"{other}: row {example.row} (id {example.id!r}) was not scanned, or "
                "was another then; scan this file first"
            )
        own = ids.get((content, example.id), left[0])
        place = own if own in left else left[0]
        left.remove(place)
        found.append(place)
    if len(found) < len(contents):
        raise AssayError(f"{other}: some are missing in it; scan this file first")
    if found != sorted(found):
        log.warning("%s: rows are in another order than in the scan", corpus.source)
    return np.array(found)


def as_scanned(corpus: Corpus, run: Path) -> Corpus:
    """Put a corpus into the order in which it was scanned; see `scanned_places`."""
    return corpus.select(np.argsort(scanned_places(corpus, run)).tolist())


def _scanned(run: Path) -> tuple[list[str], list[str]]:
    """Read the ids and the contents of the rows of a run."""
    table = read_scores(run)
    if "content" in table:
        return list(table["id"]), list(table["content"])
    # Runs of earlier versions: text and response are all that they kept.
    path = run / "rows.parquet"
    try:
        rows = pd.read_parquet(path, columns=["id", "text", "response"])
    except Exception as error:
        raise AssayError(
            f"{path}: cannot be read ({reason(error)}); scan again"
        ) from None
    seen = zip(rows["text"], rows["response"], strict=True)
    return list(rows["id"]), [row_hash(text, said) for text, said in seen]


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
    if unsure not in UNSURE:
        raise AssayError(f"unknown --unsure {unsure!r}; known: {', '.join(UNSURE)}")
    places = scanned_places(corpus, run)
    table = read_scores(run, ["id", "flagged"])
    removed = table["flagged"].to_numpy()[places]
    if decisions is not None:
        # Decisions bear the ids that the rows had when they were scanned.
        named = list(table["id"].iloc[places])
        place = {name: i for i, name in enumerate(named)}
        known: dict[str, str | None] = {
            name: row_hash(e.text, e.response)
            for name, e in zip(named, corpus.examples, strict=True)
        }
        for found in read_decisions(decisions, known).values():
            choice = unsure if found.decision == "unsure" else found.decision
            if choice != "flag":
                removed[place[found.id]] = choice == "remove"
    order = np.argsort([e.row for e in corpus.examples], kind="stable")
    # What is no example was not judged, and stays.
    taken = replace(corpus, left_out=())
    return (
        corpus.select(order[~removed[order]].tolist()),
        taken.select(order[removed[order]].tolist()),
    )
