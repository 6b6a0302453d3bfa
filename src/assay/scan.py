"""The main job: from a data set and a model to a run folder with a verdict."""

from __future__ import annotations

import hashlib
import json
import logging
import platform
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch

import assay
from assay.data.corpus import Corpus
from assay.detectors import CHEAP, DETECTORS, INFLUENCE, Detection
from assay.detectors.evidence import response_groups
from assay.errors import AssayError
from assay.gather import (
    Bars,
    ScanSettings,
    gather,
    load_evidence,
    save_evidence,
    silent,
)
from assay.models.load import LanguageModel, load_model
from assay.models.tune import TuneSettings, tune

log = logging.getLogger("assay")

SMALL_GROUP = 20


def write_json(path: Path, value: Any) -> None:
    """Write JSON, complete or not at all.

    Raises:
        AssayError: The file cannot be written.
    """
    partial = path.with_name(f".{path.name}.partial")
    try:
        partial.write_text(json.dumps(value, indent=1, ensure_ascii=False) + "\n")
        partial.replace(path)
    except OSError as error:
        partial.unlink(missing_ok=True)
        raise AssayError(f"{path}: cannot be written ({error.strerror})") from None


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


def _fingerprint(model: str) -> list[Any]:
    """Name a model's content cheaply: files with sizes and times, or just its id."""
    path = Path(model)
    files = sorted(path.glob("*.safetensors")) if path.is_dir() else [path]
    return [model] + [
        (f.name, f.stat().st_size, f.stat().st_mtime_ns) for f in files if f.exists()
    ]


@contextmanager
def _timed(timings: dict[str, float], stage: str) -> Iterator[None]:
    start = time.perf_counter()
    yield
    timings[stage] = round(time.perf_counter() - start, 2)


@contextmanager
def _logged(run: Path) -> Iterator[None]:
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


def _tables(
    run: Path, corpus: Corpus, detections: Mapping[str, Detection], chosen: Detection
) -> None:
    order = np.argsort(-chosen.scores, kind="stable")
    rank = np.empty(len(order), dtype=np.int64)
    rank[order] = np.arange(1, len(order) + 1)
    table = pd.DataFrame(
        {
            "id": [e.id for e in corpus.examples],
            "row": [e.row for e in corpus.examples],
            "flagged": chosen.flagged,
            "rank": rank,
            **{f"score.{n}": d.scores for n, d in detections.items()},
        }
    )
    try:
        partial = run / ".scores.partial"
        table.to_parquet(partial, index=False)
        partial.replace(run / "scores.parquet")
        partial = run / ".flags.partial"
        with partial.open("w", encoding="utf-8") as file:
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
                file.write(json.dumps(line) + "\n")
        partial.replace(run / "flags.jsonl")
    except OSError as error:
        raise AssayError(f"{run}: cannot be written ({error.strerror})") from None


def scan(
    corpus: Corpus,
    run: Path,
    settings: ScanSettings,
    *,
    model: str | None = None,
    base_model: str | LanguageModel | None = None,
    proxy: TuneSettings | None = None,
    queries: Corpus | None = None,
    bars: Bars = silent,
) -> dict[str, Any]:
    """Scan a corpus and write a run folder.

    Args:
        corpus: The training data.
        run: Run folder; made if need be. What it holds of the same inputs is reused.
        settings: How to scan.
        model: A model tuned on the corpus.
        base_model: Without a tuned model: this one is tuned first.
        proxy: How to tune the base model.
        queries: Test inputs for the influences; by default training rows are drawn.
        bars: Given a label, returns a progress bar.

    Returns:
        The summary, as written to ``summary.json``.

    Raises:
        AssayError: Bad settings or data, or the folder cannot be written.
    """
    if (model is None) == (base_model is None):
        raise AssayError("give either --model (tuned on this data) or --base-model")
    if settings.detector not in DETECTORS:
        raise AssayError(
            f"unknown detector {settings.detector!r}; known: {', '.join(DETECTORS)}"
        )
    if len(corpus) < 2:
        raise AssayError(f"{corpus.source}: one row; a scan compares rows with others")
    with _logged(run):
        return _scan(corpus, run, settings, model, base_model, proxy, queries, bars)


def _scan(
    corpus: Corpus,
    run: Path,
    settings: ScanSettings,
    model: str | None,
    base_model: str | LanguageModel | None,
    proxy: TuneSettings | None,
    queries: Corpus | None,
    bars: Bars,
) -> dict[str, Any]:
    given = model if model is not None else base_model
    assert given is not None
    name = given if isinstance(given, str) else given.name
    # Which detector is asked for does not change what is measured, only whether
    # transformed inputs are.
    how = asdict(replace(settings, detector="", influence=settings.needs_influence))
    tuning = None
    if base_model is not None:
        tuning = replace(
            proxy or TuneSettings(),
            template=settings.template,
            max_length=settings.max_length,
            bf16=settings.bf16,
            seed=settings.seed,
        )
    fingerprint = [
        *_fingerprint(name),
        corpus.content_hash(),
        queries.content_hash() if queries else None,
        how,
        asdict(tuning) if tuning else None,
    ]
    key = hashlib.sha256(json.dumps(fingerprint).encode()).hexdigest()
    config = {
        "input": corpus.source,
        "format": corpus.format,
        "model": name,
        "queries": queries.source if queries else None,
        "tuning": asdict(tuning) if tuning else None,
        "settings": asdict(settings),
        "key": key,
    }
    timings: dict[str, float] = {}
    groups = response_groups([e.response for e in corpus.examples])
    small = sum(len(g) < SMALL_GROUP for g in groups)
    if small:
        log.warning(
            "%d of %d responses have fewer than %d rows: too few to judge",
            small,
            len(groups),
            SMALL_GROUP,
        )
    path = run / f"evidence-{key[:16]}.safetensors"
    evidence = load_evidence(path, corpus)
    reused = evidence is not None
    if evidence is None:
        lm = load_model(given) if isinstance(given, str) else given
        if tuning is not None:
            with _timed(timings, "tune"), bars("tuning a proxy") as advance:
                lm = tune(lm, corpus, run / "proxy", tuning, progress=advance)
        with _timed(timings, "evidence"):
            evidence = gather(lm, corpus, settings, bars, queries)
            save_evidence(evidence, path)
    else:
        log.info("reusing the evidence in %s", path)
    wanted = {*CHEAP, settings.detector}
    if settings.needs_influence:
        wanted |= set(INFLUENCE)
    with _timed(timings, "detect"):
        detections = {n: d(evidence) for n, d in DETECTORS.items() if n in wanted}
    chosen = detections[settings.detector]
    _tables(run, corpus, detections, chosen)
    summary = {
        "verdict": chosen.verdict,
        "rows": len(corpus),
        "flagged": int(chosen.flagged.sum()),
        "detector": settings.detector,
        "findings": chosen.findings,
        "reused": reused,
        "timings": timings,
        "versions": versions(),
    }
    write_json(run / "config.json", config)
    write_json(run / "summary.json", summary)
    log.info(
        "%s: %d of %d rows flagged", chosen.verdict, chosen.flagged.sum(), len(corpus)
    )
    return summary


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
