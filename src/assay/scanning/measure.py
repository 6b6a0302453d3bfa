"""From a corpus and a model to the evidence detectors read, kept on disk."""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from assay.data.corpus import Corpus
from assay.detectors import Evidence
from assay.errors import AssayError
from assay.influence.attribution import (
    apply_curvature,
    query_states,
    repsim_scores,
)
from assay.influence.factor_file import load_factors, save_factors
from assay.influence.factors import Factors, fit_factors
from assay.influence.queries import Queries, averaged_queries, query_gradients
from assay.influence.scores import evidence_columns, score_rows
from assay.influence.sharding import ALONE, Shard
from assay.influence.store import DiskStore, Rows, finished_store
from assay.models.language_model import LanguageModel
from assay.runs.folder import read_config
from assay.scanning.inputs import Prepared, plan_scan, prepare
from assay.scanning.job import Job
from assay.settings import Bars, ScanSettings, silent
from assay.transforms import TRANSFORMS
from assay.util.memory import trim
from assay.util.progress import Progress

log = logging.getLogger("assay")


@dataclass(frozen=True)
class Place:
    """Where measurements are kept, and of what they are.

    Attributes:
        run: Run folder.
        key: Hash of model, data and settings.
        model: What tells the model from others.
        data: Hash of the training data.
    """

    run: Path
    key: str
    model: Any
    data: str

    @property
    def store(self) -> Path:
        """Folder of the rows' evidence."""
        return self.run / f"evidence-{self.key[:16]}"

    @property
    def survival(self) -> Path:
        """File of the responses' log-probabilities to turned rows."""
        return self.run / f"survival-{self.key[:16]}.npy"

    @property
    def factors(self) -> Path:
        """File of the curvature."""
        return self.run / "factors.safetensors"


def evidence_of(run: Path, corpus: Corpus) -> Evidence | None:
    """Read what the finished scan in a run folder has measured; None where it is gone.

    Args:
        run: The run folder.
        corpus: What was scanned.
    """
    config = read_config(run)
    if config is None:
        return None
    place = Place(run, config["key"], config["model"], config["data"])
    return load_evidence(place.store, place.key, corpus)


def gather(
    lm: LanguageModel,
    job: Job,
    place: Place,
    bars: Bars = silent,
    shard: Shard = ALONE,
) -> Evidence | None:
    """Run the rows through the model once and keep what detectors need.

    Args:
        lm: A model tuned on the job's corpus.
        job: What is scanned, and how.
        place: Where measurements are kept; what is there already is not repeated.
        bars: Given a label, returns a progress bar.
        shard: This process's share of the work.

    Returns:
        The evidence; None on all but the main process.

    Raises:
        AssayError: Nothing can be measured (see `prepare`), it would not fit into
            memory or on the disk, or the run folder holds another job's rows.
    """
    corpus, settings = job.corpus, job.settings
    work = prepare(lm, job)
    plan = plan_scan(lm, work, job, place.run, shard=shard)
    if shard.is_main:
        for line in plan.lines():
            log.info("%s", line)
    plan.check()
    names = list(work.sets)
    gradients: Queries = {}
    states = None
    if names and settings.attribution == "repsim":
        states = query_states(lm, work.sets, settings.passes)
    elif names:
        gradients = _query_gradients(lm, work, settings, place, bars, shard)
        # The curvature has been let go.
        trim()
    columns = evidence_columns(
        lm, work.modules, len(names) if gradients else 0, settings.rank
    )
    facts: dict[str, Any] = {
        "queries": names,
        "states": None if states is None else states.tolist(),
        "layers": list(work.modules),
        "rank": settings.rank,
        "seed": settings.seed,
    }
    store = DiskStore(place.store, place.key, len(corpus), columns, facts)
    try:
        with bars("gradients") as advance:
            score_rows(
                lm,
                work.rows,
                work.modules,
                gradients,
                settings.passes,
                rank=settings.rank,
                seed=settings.seed,
                store=store,
                shard=shard,
                progress=advance,
            )
    finally:
        store.close()
    return _evidence(corpus, store.arrays, facts) if shard.is_main else None


def _query_gradients(
    lm: LanguageModel,
    work: Prepared,
    settings: ScanSettings,
    place: Place,
    bars: Bars,
    shard: Shard,
) -> Queries:
    """Gradients of the query sets under the chosen curvature."""
    passes, method = settings.passes, settings.attribution

    def fitted(advance: Progress) -> Factors | None:
        facts = _factor_facts(work, settings, place)
        found = None
        if shard.is_main:
            found = _kept_factors(lm, work, settings, place, facts)
        if shard.broadcast_object(found is not None):
            return found
        made = fit_factors(
            lm, work.sample, work.modules, passes, shard=shard, progress=advance
        )
        trim()
        if shard.is_main:
            save_factors(made, place.factors, facts)
        return made

    def curved(
        gradients: Queries,
        factors: Factors | None = None,
        advance: Progress | None = None,
    ) -> Queries:
        return apply_curvature(
            method,
            lm,
            work.sample,
            work.modules,
            gradients,
            passes,
            damping=settings.damping,
            factors=lambda: factors,
            shard=shard,
            progress=advance,
        )

    if method in ("ekfac", "identity"):
        factors = None
        if method == "ekfac":
            with bars("curvature") as advance:
                factors = fitted(advance)
        with bars("test inputs") as advance:
            return averaged_queries(
                lm,
                work.sets,
                work.modules,
                passes,
                lambda gradients: curved(gradients, factors),
                shard=shard,
                progress=advance,
            )
    with bars("test inputs") as advance:
        gradients = query_gradients(
            lm, work.sets, work.modules, passes, shard=shard, progress=advance
        )
    with bars("curvature") as advance:
        curved(gradients, advance=advance)
    if settings.bf16:
        # The pass over the rows would convert them and hold both.
        for name, gradient in gradients.items():
            gradients[name] = gradient.bfloat16()
    return gradients


def _factor_facts(
    work: Prepared, settings: ScanSettings, place: Place
) -> dict[str, Any]:
    layers = json.dumps(list(work.modules))
    return {
        "model": place.model,
        "data": place.data,
        "number of rows": len(work.sample),
        "template": settings.template,
        "maximal length": settings.max_length,
        "precision": "bf16" if settings.bf16 else "fp32",
        "choice of layers": hashlib.sha256(layers.encode()).hexdigest(),
        "seed": settings.seed,
    }


def _kept_factors(
    lm: LanguageModel,
    work: Prepared,
    settings: ScanSettings,
    place: Place,
    facts: Mapping[str, Any],
) -> Factors | None:
    device = lm.model.get_input_embeddings().weight.device
    if settings.factors is not None:
        return load_factors(Path(settings.factors), facts, work.modules, device)
    if not place.factors.is_file():
        return None
    try:
        found = load_factors(place.factors, facts, work.modules, device)
    except AssayError as error:
        log.warning("%s: they are fitted again", error)
        return None
    log.info("reusing the curvature in %s", place.factors)
    return found


def load_evidence(place: Path, key: str, corpus: Corpus) -> Evidence | None:
    """Read what `gather` measured; None where it has not finished.

    Args:
        place: The store's folder.
        key: Hash of model, data and settings.
        corpus: The training data.

    Raises:
        AssayError: The store is of another job.
    """
    found = finished_store(place, key)
    return None if found is None else _evidence(corpus, *found)


def _evidence(
    corpus: Corpus, arrays: Mapping[str, Rows], facts: Mapping[str, Any]
) -> Evidence:
    scores = arrays["scores"]
    if facts["states"] is not None:
        states = np.array(facts["states"], np.float32)
        scores = repsim_scores(arrays["hidden"], states)
    return Evidence(
        [e.text for e in corpus.examples],
        [e.response for e in corpus.examples],
        np.array(arrays["losses"][:, 0]),
        arrays["features"],
        arrays["hidden"],
        {n: scores[:, i].astype(np.float64) for i, n in enumerate(facts["queries"])},
        {n: TRANSFORMS[n].category for n in facts["queries"] if n in TRANSFORMS},
    )
