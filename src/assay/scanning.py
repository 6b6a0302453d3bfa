"""The main job: from a data set and a model to a run folder with a verdict."""

from __future__ import annotations

import hashlib
import json
import logging
import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from copy import deepcopy
from dataclasses import asdict, replace
from functools import cache
from pathlib import Path
from typing import Any, TypeVar

import assay
from assay.data.corpus import Corpus
from assay.detectors import CHEAP, DEFAULT, DETECTORS, INFLUENCE, proposers
from assay.detectors.evidence import response_groups
from assay.errors import AssayError
from assay.files import write_json
from assay.gather import Bars, Place, ScanSettings, gather, load_evidence, silent
from assay.influence.sharding import ALONE, Shard
from assay.models.load import LanguageModel, load_model, weights_hash
from assay.models.log_probs import response_log_probs
from assay.models.tune import TuneSettings, tune, tuned_how
from assay.report.build import forget_evaluation, write_report
from assay.runs import (
    earlier_config,
    logged,
    refuse_other,
    versions,
    write_rows,
    write_tables,
)
from assay.survival import survival
from assay.verify.causal import LogProbs
from assay.verify.findings import FDR
from assay.verify.rounds import Laboratory, experiments, verdict_of

log = logging.getLogger("assay")

SMALL_GROUP = 20

Given = TypeVar("Given", bound=str | LanguageModel)


def _fingerprint(model: str | LanguageModel) -> list[Any]:
    """Name a model's content: files with sizes and times, a hub id, or its weights."""
    if not isinstance(model, str):
        return [model.name, weights_hash(model)]
    path = Path(model)
    files = sorted(path.glob("*.safetensors")) if path.is_dir() else [path]
    return [model] + [
        (f.name, f.stat().st_size, f.stat().st_mtime_ns) for f in files if f.exists()
    ]


def _name(model: str | LanguageModel) -> str:
    return model if isinstance(model, str) else model.name


@contextmanager
def _timed(timings: dict[str, float], stage: str) -> Iterator[None]:
    start = time.perf_counter()
    yield
    timings[stage] = round(time.perf_counter() - start, 2)


def resolved(
    settings: ScanSettings, model: Given | None, base_model: Given | None
) -> tuple[Given, ScanSettings]:
    """Choose the model and, for one that was tuned here, its prompt template.

    Raises:
        AssayError: No model is given.
    """
    if model is not None:
        how = tuned_how(model) if isinstance(model, str) else None
        if settings.template == "auto" and how is not None:
            settings = replace(settings, template=how.template)
        return model, settings
    if base_model is not None:
        return base_model, settings
    raise AssayError("give --model (tuned on this data), --base-model, or both")


def _tuning(
    settings: ScanSettings,
    model: str | LanguageModel | None,
    base_model: str | LanguageModel | None,
    proxy: TuneSettings | None,
) -> TuneSettings | None:
    """How the base model is tuned, as the model was where that is noted."""
    if base_model is None:
        return None
    noted = tuned_how(model) if isinstance(model, str) else None
    return replace(
        noted or proxy or TuneSettings(),
        template=settings.template,
        max_length=settings.max_length,
        bf16=settings.bf16,
        seed=settings.seed,
    )


def scan(
    corpus: Corpus,
    run: Path,
    settings: ScanSettings,
    *,
    model: str | LanguageModel | None = None,
    base_model: str | LanguageModel | None = None,
    proxy: TuneSettings | None = None,
    queries: Corpus | None = None,
    bars: Bars = silent,
    shard: Shard = ALONE,
    overwrite: bool = False,
) -> dict[str, Any]:
    """Scan a corpus and write a run folder.

    Args:
        corpus: The training data.
        run: Run folder; made if need be. What it holds of the same inputs is reused.
        settings: How to scan.
        model: A model tuned on the corpus.
        base_model: Without a tuned model: this one is tuned first. With one: what it
            was tuned from, to decide by retraining where experiments do not.
        proxy: How to tune the base model; as the model was tuned where its folder
            notes that.
        queries: Test inputs for the influences; by default training rows are drawn.
        bars: Given a label, returns a progress bar.
        shard: This process's share, from `assay.influence.sharding.this_shard`; all
            processes have to reach the same run folder.
        overwrite: Replace a run of other data or settings.

    Returns:
        The summary, as written to ``summary.json``; empty on all but the main process.

    Raises:
        AssayError: Bad settings or data, or the folder cannot be written or holds
            another run.
    """
    given, settings = resolved(settings, model, base_model)
    if settings.detector not in DETECTORS:
        raise AssayError(
            f"unknown detector {settings.detector!r}; known: {', '.join(DETECTORS)}"
        )
    if len(corpus) < 2:
        raise AssayError(f"{corpus.source}: one row; a scan compares rows with others")
    # Before anything is written where it may not be.
    earlier = earlier_config(run)
    with logged(run) if shard.is_main else nullcontext():
        return _scan(
            corpus,
            run,
            settings,
            given,
            base_model,
            _tuning(settings, model, base_model, proxy),
            model is None,
            queries,
            bars,
            shard,
            None if overwrite else earlier,
        )


def _scan(
    corpus: Corpus,
    run: Path,
    settings: ScanSettings,
    given: str | LanguageModel,
    base_model: str | LanguageModel | None,
    tuning: TuneSettings | None,
    is_proxy: bool,
    queries: Corpus | None,
    bars: Bars,
    shard: Shard,
    earlier: dict[str, Any] | None,
) -> dict[str, Any]:
    name = _name(given)
    # Which detector is asked for does not change what is measured, only whether
    # transformed inputs are.
    how = asdict(
        replace(
            settings,
            detector="",
            verify=True,
            retrain=True,
            fdr=FDR,
            influence=settings.needs_influence,
            factors=None,
            max_memory=None,
        )
    )
    how_tuned = asdict(tuning) if tuning and is_proxy else None
    content, data = _fingerprint(given), corpus.content_hash()
    fingerprint = [
        assay.__version__,
        *content,
        data,
        queries.content_hash() if queries else None,
        how,
        how_tuned,
    ]
    key = hashlib.sha256(json.dumps(fingerprint).encode()).hexdigest()
    # File times may differ between machines.
    key = shard.broadcast_object(key)
    place = Place(run, key, [*content, how_tuned], data)
    config = {
        "input": corpus.source,
        "format": corpus.format,
        "mapping": dict(corpus.mapping),
        "split": corpus.split,
        "model": name,
        "base_model": None if base_model is None or is_proxy else _name(base_model),
        "queries": queries.source if queries else None,
        "tuning": how_tuned,
        "settings": asdict(settings),
        "data": data,
        "key": key,
    }
    if earlier is not None:
        refuse_other(run, earlier, config)
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

    # Tuning a proxy changes the weights of a model in memory.
    in_memory = isinstance(base_model, LanguageModel) and is_proxy and settings.retrain
    fresh = deepcopy(base_model) if in_memory else base_model

    @cache
    def tuned() -> LanguageModel:
        if is_proxy and not shard.is_main:
            # The main process has tuned by now.
            shard.wait()
            return load_model(str(run / "proxy"))
        lm = load_model(given) if isinstance(given, str) else given
        if tuning is None or not is_proxy:
            return lm
        with _timed(timings, "tune"), bars("tuning a proxy") as advance:
            return tune(lm, corpus, run / "proxy", tuning, progress=advance)

    if tuning is not None and not is_proxy and isinstance(base_model, str):
        # Better told now than after hours of measuring that it cannot be had.
        load_model(base_model)
    evidence = load_evidence(place.store, key, corpus) if shard.is_main else None
    reused = shard.broadcast_object(evidence is not None)
    if not reused:
        lm = tuned()
        if is_proxy and shard.is_main:
            shard.wait()
        with _timed(timings, "evidence"):
            evidence = gather(lm, corpus, settings, place, bars, queries, shard)
    else:
        log.info("reusing the evidence in %s", place.store)
    if evidence is None:
        return {}

    def of(model: Callable[[], LanguageModel]) -> LogProbs:
        return lambda examples: response_log_probs(
            model(),
            examples,
            template=settings.template,
            max_length=settings.max_length,
            bf16=settings.bf16,
            warn=False,
        )

    def retrain(rows: Sequence[int]) -> LogProbs:
        assert tuning is not None
        assert fresh is not None
        kept = corpus.select(sorted(set(range(len(corpus))) - set(rows)))
        base = load_model(fresh) if isinstance(fresh, str) else deepcopy(fresh)
        out = run / "without"
        with (
            _timed(timings, "retrain"),
            bars("tuning without doubtful rows") as advance,
        ):
            lm = tune(base, kept, out, tuning, progress=advance)
        shutil.rmtree(out, ignore_errors=True)
        return of(lambda: lm)

    log_probs = of(tuned)
    if settings.needs_influence:
        with _timed(timings, "counterfactuals"), bars("counterfactuals") as advance:
            found = survival(
                corpus.examples, log_probs, place.survival, progress=advance
            )
        evidence = replace(evidence, survival=found)
    wanted = {*CHEAP, settings.detector}
    if settings.needs_influence:
        wanted |= set(INFLUENCE)
    with _timed(timings, "detect"):
        detections = {n: d(evidence) for n, d in DETECTORS.items() if n in wanted}
    chosen = detections[settings.detector]
    if settings.verify and settings.detector == DEFAULT:
        lab = Laboratory(
            corpus.examples,
            log_probs,
            run,
            key,
            settings.seed,
            settings.fdr,
            bars,
            retrain if tuning is not None and settings.retrain else None,
        )
        with _timed(timings, "verify"):
            proposed = [detections[name] for name in proposers(evidence)]
            flagged, findings = experiments(lab, evidence, proposed)
        chosen = replace(
            chosen,
            flagged=flagged,
            verdict=verdict_of(findings),
            findings=findings,
        )
    write_tables(run, corpus, detections, chosen)
    write_rows(run, corpus, evidence, detections[DEFAULT])
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
    forget_evaluation(run, config)
    write_json(run / "config.json", config)
    write_json(run / "summary.json", summary)
    log.info("report: %s", write_report(run))
    return summary
