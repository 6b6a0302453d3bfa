"""The main job: from a data set and a model to a run folder with a verdict."""

from __future__ import annotations

import hashlib
import json
import logging
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import asdict, replace
from functools import cache, partial
from itertools import zip_longest
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

import assay
from assay.data.corpus import Corpus
from assay.detectors import (
    CHEAP,
    DEFAULT,
    DETECTORS,
    INFLUENCE,
    PROPOSERS,
    Detection,
    Evidence,
)
from assay.detectors.evidence import Mask, response_groups
from assay.errors import AssayError
from assay.files import write_json
from assay.gather import Bars, Place, ScanSettings, gather, load_evidence, silent
from assay.influence.sharding import ALONE, Shard
from assay.models.load import LanguageModel, load_model
from assay.models.log_probs import response_log_probs
from assay.models.tune import TuneSettings, tune, tuned_template
from assay.runs import logged, versions, write_tables
from assay.verify.findings import HYPOTHESES, verified_findings
from assay.verify.near import near_patterns

log = logging.getLogger("assay")

SMALL_GROUP = 20
FURTHER = 5

Base = TypeVar("Base", bound=str | LanguageModel)


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


def resolved(
    settings: ScanSettings, model: str | None, base_model: Base | None
) -> tuple[str | Base, ScanSettings]:
    """Choose the model and, for one that was tuned here, its prompt template.

    Raises:
        AssayError: Both models are given, or none.
    """
    if model is not None and base_model is None:
        if settings.template == "auto":
            settings = replace(settings, template=tuned_template(model))
        return model, settings
    if base_model is not None and model is None:
        return base_model, settings
    raise AssayError("give either --model (tuned on this data) or --base-model")


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
    shard: Shard = ALONE,
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
        shard: This process's share, from `assay.influence.sharding.this_shard`; all
            processes have to reach the same run folder.

    Returns:
        The summary, as written to ``summary.json``; empty on all but the main process.

    Raises:
        AssayError: Bad settings or data, or the folder cannot be written.
    """
    given, settings = resolved(settings, model, base_model)
    if settings.detector not in DETECTORS:
        raise AssayError(
            f"unknown detector {settings.detector!r}; known: {', '.join(DETECTORS)}"
        )
    if len(corpus) < 2:
        raise AssayError(f"{corpus.source}: one row; a scan compares rows with others")
    with logged(run) if shard.is_main else nullcontext():
        return _scan(
            corpus, run, settings, given, base_model, proxy, queries, bars, shard
        )


def _verify(
    chosen: Detection,
    proposed: list[Detection],
    evidence: Evidence,
    corpus: Corpus,
    run: Path,
    key: str,
    settings: ScanSettings,
    model: Callable[[], LanguageModel],
    bars: Bars,
) -> Detection:
    """Turn what the proposers suspect into a detection by experiment on the model.

    After a trigger is verified its rows are left out and the proposers are asked
    again, until nothing verifies. Errors are controlled within a round; on clean data
    there is only one.
    """
    flagged = np.zeros(len(corpus), dtype=bool)
    findings: list[dict[str, Any]] = []
    most = HYPOTHESES
    near: list[dict[str, Any]] = []
    # The first round is about all rows, on which the proposers have run.
    while True:
        known = {f["pattern"] for f in findings}
        candidates = [
            c for c in (*near, *proposals(proposed)) if c["pattern"] not in known
        ]
        found = _tested(
            candidates, ~flagged, corpus, run, key, settings, model, bars, most
        )
        findings += [f for f in found if f["pattern"] not in known]
        verified = [f for f in found if f["verified"]]
        for finding in verified:
            flagged[finding["rows"]] = True
        if not verified:
            break
        # What comes next is a second trigger or nothing: the best few will tell.
        most = FURTHER
        proposed = [propose(evidence, ~flagged) for propose in PROPOSERS]
        left = np.flatnonzero(~flagged).tolist()
        near = [c for f in verified for c in near_patterns(f, corpus.examples, left)]
    verdict = "poisoned" if flagged.any() else "clean"
    if verdict == "clean" and any(f["status"] != "dismissed" for f in findings):
        verdict = "suspicious"
    return replace(chosen, flagged=flagged, verdict=verdict, findings=findings)


def proposals(proposed: list[Detection]) -> list[dict[str, Any]]:
    """Candidates of all proposers in turn, each naming its ``proposer``."""
    named = [[{**f, "proposer": d.name} for f in d.findings] for d in proposed]
    return [f for turn in zip_longest(*named) for f in turn if f is not None]


def _tested(
    candidates: list[dict[str, Any]],
    keep: Mask,
    corpus: Corpus,
    run: Path,
    key: str,
    settings: ScanSettings,
    model: Callable[[], LanguageModel],
    bars: Bars,
    most: int,
) -> list[dict[str, Any]]:
    """Test candidates on the rows kept, or read what an earlier test found."""
    if not candidates:
        return []
    asked = json.dumps([key, settings.seed, most, candidates])
    path = run / f"verified-{hashlib.sha256(asked.encode()).hexdigest()[:16]}.json"
    if path.is_file():
        log.info("reusing the experiments in %s", path)
        return list(json.loads(path.read_text(encoding="utf-8")))
    left = np.flatnonzero(keep)
    place = np.cumsum(keep) - 1

    def moved(finding: dict[str, Any], to: NDArray[np.intp]) -> dict[str, Any]:
        rows = {n: [int(to[i]) for i in finding[n]] for n in ("rows", "pattern_rows")}
        return {**finding, **rows}

    log_probs = partial(
        response_log_probs,
        model(),
        template=settings.template,
        max_length=settings.max_length,
        bf16=settings.bf16,
        warn=False,
    )
    with bars("testing candidates") as advance:
        found = verified_findings(
            [moved(c, place) for c in candidates],
            [corpus.examples[i] for i in left],
            log_probs,
            seed=settings.seed,
            most=most,
            progress=advance,
        )
    found = [moved(f, left) for f in found]
    write_json(path, found)
    return found


def _scan(
    corpus: Corpus,
    run: Path,
    settings: ScanSettings,
    given: str | LanguageModel,
    base_model: str | LanguageModel | None,
    proxy: TuneSettings | None,
    queries: Corpus | None,
    bars: Bars,
    shard: Shard,
) -> dict[str, Any]:
    name = given if isinstance(given, str) else given.name
    # Which detector is asked for does not change what is measured, only whether
    # transformed inputs are.
    how = asdict(
        replace(
            settings,
            detector="",
            verify=True,
            influence=settings.needs_influence,
            factors=None,
            max_memory=None,
        )
    )
    tuning = None
    if base_model is not None:
        tuning = replace(
            proxy or TuneSettings(),
            template=settings.template,
            max_length=settings.max_length,
            bf16=settings.bf16,
            seed=settings.seed,
        )
    how_tuned = asdict(tuning) if tuning else None
    fingerprint = [
        assay.__version__,
        *_fingerprint(name),
        corpus.content_hash(),
        queries.content_hash() if queries else None,
        how,
        how_tuned,
    ]
    key = hashlib.sha256(json.dumps(fingerprint).encode()).hexdigest()
    # File times may differ between machines.
    key = shard.broadcast_object(key)
    place = Place(run, key, [*_fingerprint(name), how_tuned], corpus.content_hash())
    config = {
        "input": corpus.source,
        "format": corpus.format,
        "model": name,
        "queries": queries.source if queries else None,
        "tuning": how_tuned,
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

    @cache
    def tuned() -> LanguageModel:
        if tuning is not None and not shard.is_main:
            # The main process has tuned by now.
            shard.wait()
            return load_model(str(run / "proxy"))
        lm = load_model(given) if isinstance(given, str) else given
        if tuning is None:
            return lm
        with _timed(timings, "tune"), bars("tuning a proxy") as advance:
            return tune(lm, corpus, run / "proxy", tuning, progress=advance)

    evidence = load_evidence(place.store, key, corpus) if shard.is_main else None
    reused = shard.broadcast_object(evidence is not None)
    if not reused:
        lm = tuned()
        if tuning is not None and shard.is_main:
            shard.wait()
        with _timed(timings, "evidence"):
            evidence = gather(lm, corpus, settings, place, bars, queries, shard)
    else:
        log.info("reusing the evidence in %s", place.store)
    if evidence is None:
        return {}
    wanted = {*CHEAP, settings.detector}
    if settings.needs_influence:
        wanted |= set(INFLUENCE)
    with _timed(timings, "detect"):
        detections = {n: d(evidence) for n, d in DETECTORS.items() if n in wanted}
    chosen = detections[settings.detector]
    if settings.verify and settings.detector == DEFAULT:
        proposed = [d for d in detections.values() if CHEAP.get(d.name) in PROPOSERS]
        with _timed(timings, "verify"):
            chosen = _verify(
                chosen, proposed, evidence, corpus, run, key, settings, tuned, bars
            )
    write_tables(run, corpus, detections, chosen)
    dismissed = [f for f in chosen.findings if f.get("status") == "dismissed"]
    summary = {
        "verdict": chosen.verdict,
        "rows": len(corpus),
        "flagged": int(chosen.flagged.sum()),
        "detector": settings.detector,
        "findings": [f for f in chosen.findings if f not in dismissed],
        "dismissed": dismissed,
        "reused": reused,
        "timings": timings,
        "versions": versions(),
    }
    write_json(run / "config.json", config)
    write_json(run / "summary.json", summary)
    return summary
