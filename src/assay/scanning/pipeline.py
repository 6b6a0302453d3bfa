"""The main job: from a data set and a model to a run folder with a verdict."""

from __future__ import annotations

import logging
import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from copy import deepcopy
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from assay.data.corpus import Corpus
from assay.detectors import (
    CHEAP,
    DEFAULT,
    DETECTORS,
    INFLUENCE,
    Detection,
    detect,
    proposers,
)
from assay.detectors.evidence import Evidence, response_groups
from assay.influence.sharding import ALONE, Shard
from assay.models.bases import check_base
from assay.models.language_model import LanguageModel
from assay.models.load import load_model
from assay.models.log_probs import response_log_probs
from assay.models.tune import tune
from assay.models.tune_settings import TuneSettings
from assay.report.build import forget_evaluation, write_report
from assay.runs.folder import (
    FACTORS,
    LOG,
    PROXY,
    RESULTS,
    WITHOUT,
    earlier_config,
    logged,
    refuse_other,
    versions,
)
from assay.runs.results import write_rows, write_tables
from assay.scanning.counterfactual import survival
from assay.scanning.job import Job, Model, job_of
from assay.scanning.measure import Place, gather, load_evidence
from assay.settings import Bars, QueryChoice, ScanSettings, silent
from assay.text.pattern import Pattern
from assay.util.files import check_outputs, write_json
from assay.verify.experiments import Experiments
from assay.verify.finding import Finding, Found, Group, parted
from assay.verify.odds import LogProbs
from assay.verify.rounds import experiments, verdict_of

log = logging.getLogger("assay")

SMALL_GROUP = 20
# Seeds are below this.
SEEDS = 2**32


def say_what_is_looked_at(corpus: Corpus) -> None:
    """Say which answers a scan does not look at, if any, in one line each."""
    earlier = [n for e in corpus.examples if (n := e.trained_before)]
    if earlier:
        log.warning(
            "only the last answer of a chat is looked at: %d earlier answers of %d "
            "rows are trained on and not looked at",
            sum(earlier),
            len(earlier),
        )
    pairs = sum(e.rejected is not None for e in corpus.examples)
    if pairs:
        log.warning(
            "%d preference rows: their chosen answers are looked at, the rejected ones "
            "are not",
            pairs,
        )


@dataclass
class Models:
    """The models of a scan, loaded or tuned when they are asked for.

    Attributes:
        job: What is scanned.
        run: Folder in which models are tuned.
        bars: Given a label, returns a progress bar.
        shard: This process's share.
        overwrite: Whether a proxy that was tuned otherwise may be replaced.
        timings: Stage to seconds, filled here.
    """

    job: Job
    run: Path
    bars: Bars
    shard: Shard
    overwrite: bool = False
    timings: dict[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Keep the base model as it is, and make sure that it can be had."""
        base = self.job.base_model
        # Tuning a proxy changes the weights of a model in memory.
        copied = self.job.is_proxy and self.job.retraining is not None
        in_memory = isinstance(base, LanguageModel)
        self._fresh = deepcopy(base) if copied and in_memory else base
        decides = self.job.retraining is not None and not self.job.is_proxy
        if decides and isinstance(base, str):
            # Better told now than after hours of measuring that it cannot be had.
            base = load_model(base)
        if base is not None and not self.job.is_proxy:
            check_base(self.job.model, base)

    @contextmanager
    def timed(self, stage: str) -> Iterator[None]:
        """Note how long a stage takes."""
        start = time.perf_counter()
        yield
        self.timings[stage] = round(time.perf_counter() - start, 2)

    @cached_property
    def scanned(self) -> LanguageModel:
        """The model given, or the proxy, tuned first."""
        job = self.job
        if job.is_proxy and not self.shard.is_main:
            # The main process has tuned by now.
            self.shard.wait()
            return load_model(str(self.run / PROXY))
        lm = load_model(job.model) if isinstance(job.model, str) else job.model
        if job.proxy_tuning is None:
            return lm
        with self.timed("tune"), self.bars("tuning a proxy") as advance:
            return tune(
                lm,
                job.corpus,
                self.run / PROXY,
                job.proxy_tuning,
                overwrite=self.overwrite,
                progress=advance,
            )

    def log_probs(self, model: Callable[[], LanguageModel]) -> LogProbs:
        """Ask a model for log-probabilities; it is loaded with the first question."""
        settings = self.job.settings
        return lambda examples: response_log_probs(
            model(),
            examples,
            template=settings.template,
            max_length=settings.max_length,
            bf16=settings.bf16,
            warn=False,
        )

    def without(self, rows: Sequence[int], attempt: int = 0) -> LogProbs:
        """Tune the base model on all rows but these, and ask it."""
        corpus, tuning = self.job.corpus, self.job.tuning
        assert tuning is not None
        assert self._fresh is not None
        kept = corpus.select(sorted(set(range(len(corpus))) - set(rows)))
        fresh = self._fresh
        base = load_model(fresh) if isinstance(fresh, str) else deepcopy(fresh)
        tuning = replace(tuning, seed=(tuning.seed + attempt) % SEEDS)
        out = self.run / WITHOUT
        with (
            self.timed("retrain"),
            self.bars("tuning without doubtful rows") as advance,
        ):
            # What a scan that was killed has left there is of no further use.
            lm = tune(base, kept, out, tuning, overwrite=True, progress=advance)
        shutil.rmtree(out, ignore_errors=True)
        return self.log_probs(lambda: lm)


def scan(
    corpus: Corpus,
    run: Path,
    settings: ScanSettings,
    *,
    model: Model | None = None,
    base_model: Model | None = None,
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
    job = job_of(corpus, settings, model, base_model, proxy, queries)
    # Before anything is written where it may not be.
    earlier = earlier_config(run)
    check_outputs(
        [run / name for name in written_by(job)],
        job.read,
        # What is there is a run of assay, and whether it may be replaced depends on
        # whether it is this one.
        overwrite=True,
        folder=run,
    )
    with logged(run) if shard.is_main else nullcontext():
        return _scan(job, run, bars, shard, None if overwrite else earlier, overwrite)


def written_by(job: Job) -> list[str]:
    """Name the files of a run folder that a scan replaces, and its models' folders."""
    names = [*RESULTS, LOG]
    if job.settings.factors is None:
        names.append(FACTORS)
    if job.is_proxy:
        names.append(PROXY)
    if job.retraining is not None:
        names.append(WITHOUT)
    return names


def _scan(
    job: Job,
    run: Path,
    bars: Bars,
    shard: Shard,
    earlier: dict[str, Any] | None,
    overwrite: bool,
) -> dict[str, Any]:
    corpus, settings = job.corpus, job.settings
    # File times may differ between machines.
    key = shard.broadcast_object(job.key)
    place = Place(run, key, job.measured, job.data)
    config = job.config(key)
    if earlier is not None:
        refuse_other(run, earlier, config)
    say_what_is_looked_at(corpus)
    groups = response_groups([e.response for e in corpus.examples])
    small = sum(len(g) < SMALL_GROUP for g in groups)
    if small:
        log.warning(
            "%d of %d responses have fewer than %d rows: too few to judge",
            small,
            len(groups),
            SMALL_GROUP,
        )
    models = Models(job, run, bars, shard, overwrite)
    evidence, reused = _kept(place, corpus, shard)
    if not reused:
        lm = models.scanned
        if job.is_proxy and shard.is_main:
            shard.wait()
        with models.timed("evidence"):
            if settings.query_choice == QueryChoice.CANDIDATES:
                suspected = _suspected(models)
                job = replace(job, patterns=shard.broadcast_object(suspected))
            evidence = gather(lm, job, place, bars, shard)
    else:
        log.info("reusing the evidence in %s", place.store)
    if evidence is None:
        return {}
    if settings.needs_influence:
        with models.timed("counterfactuals"), bars("counterfactuals") as advance:
            found = survival(
                corpus.examples,
                models.log_probs(lambda: models.scanned),
                place.survival,
                progress=advance,
            )
        evidence = replace(evidence, survival=found)
    wanted = {*CHEAP, settings.detector}
    if settings.needs_influence:
        wanted |= set(INFLUENCE)
    with models.timed("detect"):
        detections = {
            n: detect(n, evidence, settings.rules) for n in DETECTORS if n in wanted
        }
    chosen = detections[settings.detector]
    tested = _untested(chosen)
    if job.verifies:
        chosen, tested = _verified(models, key, evidence, detections)
    write_tables(run, corpus, detections, chosen, tested)
    write_rows(run, corpus, evidence, detections[DEFAULT])
    reported, dismissed = parted(tested)
    summary = {
        "verdict": chosen.verdict,
        "rows": len(corpus),
        "flagged": int(chosen.flagged.sum()),
        "detector": settings.detector,
        "findings": [f.to_dict() for f in reported],
        "dismissed": [f.to_dict() for f in dismissed],
        "reused": reused,
        "timings": models.timings,
        "versions": versions(),
    }
    forget_evaluation(run, config)
    write_json(run / "config.json", config)
    write_json(run / "summary.json", summary)
    log.info("report: %s", write_report(run))
    return summary


def _kept(place: Place, corpus: Corpus, shard: Shard) -> tuple[Evidence | None, bool]:
    """Read what is measured already, on the main process; and whether it is, on all."""
    evidence = load_evidence(place.store, place.key, corpus) if shard.is_main else None
    return evidence, shard.broadcast_object(evidence is not None)


def _suspected(models: Models) -> tuple[Pattern, ...] | None:
    """Propose words from one pass over the rows; None where nothing is suspected."""
    shard = models.shard
    plain = replace(models.job.settings, detector=DEFAULT, influence=False)
    job = replace(models.job, settings=plain)
    key = shard.broadcast_object(job.key)
    place = Place(models.run, key, job.measured, job.data)
    evidence, reused = _kept(place, job.corpus, shard)
    if not reused:
        log.info("test inputs are chosen by what is suspected: one pass more")
        evidence = gather(models.scanned, job, place, models.bars, shard)
    if evidence is None:
        return None
    found = [c for d in proposers(evidence).values() for c in d(evidence).candidates]
    patterns = tuple(dict.fromkeys(c.pattern for c in found))
    if not patterns:
        log.warning("no words are suspected: test inputs are drawn at random")
        return None
    log.info("test inputs are chosen by %d suspected patterns", len(patterns))
    return patterns


def _untested(chosen: Detection) -> list[Found]:
    """What a detector says by itself: its candidates, or just the rows it flags."""
    if chosen.candidates or not chosen.flagged.any():
        return [Finding(c) for c in chosen.candidates]
    rows = tuple(np.flatnonzero(chosen.flagged).tolist())
    return [Group(rows, float(chosen.scores[chosen.flagged].mean()))]


def _verified(
    models: Models, key: str, evidence: Evidence, detections: dict[str, Detection]
) -> tuple[Detection, list[Found]]:
    """Test what the proposers suspect; flag what holds."""
    settings = models.job.settings
    lab = Experiments(
        models.job.corpus.examples,
        models.log_probs(lambda: models.scanned),
        models.run,
        key,
        settings.seed,
        settings.fdr,
        models.bars,
        models.without if models.job.retraining else None,
    )
    with models.timed("verify"):
        proposed = [detections[name] for name in proposers(evidence)]
        flagged, found = experiments(lab, evidence, proposed, settings.rules)
    verdict = verdict_of(found)
    return replace(detections[DEFAULT], flagged=flagged, verdict=verdict), [*found]
