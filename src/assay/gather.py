"""From a corpus and a model to the evidence detectors read, kept on disk."""

from __future__ import annotations

import hashlib
import json
import logging
import random
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from torch import nn

from assay.data.corpus import Corpus, Example
from assay.detectors import DEFAULT, INFLUENCE, Evidence
from assay.errors import AssayError
from assay.influence.attribution import (
    apply_curvature,
    check_method,
    query_states,
    repsim_scores,
)
from assay.influence.factor_file import load_factors, save_factors
from assay.influence.factors import Factors, fit_factors
from assay.influence.modules import linear_modules
from assay.influence.passes import PassSettings
from assay.influence.scores import (
    Queries,
    averaged_queries,
    evidence_columns,
    query_gradients,
    score_rows,
)
from assay.influence.sharding import ALONE, Shard
from assay.influence.store import DiskStore, Rows, finished_store
from assay.memory import trim
from assay.models.encode import Encoded, EncodedExample, encode, warn_truncated
from assay.models.load import LanguageModel
from assay.models.log_probs import Progress
from assay.plan import GIB, Plan, Work, make_plan
from assay.transforms import PAPER_SIX
from assay.verify.findings import FDR

log = logging.getLogger("assay")

Bars = Callable[[str], AbstractContextManager[Callable[[int, int], None]]]


@dataclass(frozen=True)
class ScanSettings:
    """How a scan is run.

    Attributes:
        detector: The detector whose flags count; the others' scores are kept too.
        verify: Test the default detector's candidates on the model and flag only what
            passes.
        fdr: Tolerated share of false flags, in expectation.
        retrain: Where the base model is known, tune it once more to decide on words
            that other experiments leave undecided.
        influence: Measure influences on transformed inputs even where the detector
            does not need them.
        queries: Test inputs whose loss the influences are about.
        factor_rows: Rows the curvature is estimated on.
        damping: Damping relative to a layer's mean eigenvalue.
        template: Prompt template.
        max_length: Longest example in tokens.
        bf16: Run the model under bfloat16 autocast.
        modules: Regular expression of the linear layers to track; all by default.
        first_layers: Track the first transformer blocks only.
        rank: Side of each layer's projected gradient.
        seed: Seed of projections, draws, FastICA and proxy tuning.
        attribution: How influence is computed, of `assay.influence.attribution`.
        token_budget: Padded tokens in a batch.
        max_batch: Rows in a batch.
        checkpointing: Recompute activations block by block to save memory.
        factors: File of factors fitted by another scan of the same model and data.
        max_memory: Gigabytes (2^30) that may be used besides the model; what is free
            by default.
    """

    detector: str = DEFAULT
    verify: bool = True
    fdr: float = FDR
    retrain: bool = True
    influence: bool = False
    queries: int = 32
    factor_rows: int = 128
    damping: float = 0.1
    template: str = "auto"
    max_length: int = 512
    bf16: bool = False
    modules: str | None = None
    first_layers: int | None = None
    rank: int = 16
    seed: int = 0
    attribution: str = "ekfac"
    token_budget: int = 2048
    max_batch: int = 32
    checkpointing: bool = False
    factors: str | None = None
    max_memory: float | None = None

    @property
    def passes(self) -> PassSettings:
        """How rows go through the model."""
        return PassSettings(
            self.token_budget, self.max_batch, self.bf16, self.checkpointing
        )

    @property
    def needs_influence(self) -> bool:
        """Whether transformed inputs have to be scored."""
        return self.influence or self.detector in INFLUENCE


def silent(_: str) -> AbstractContextManager[Callable[[int, int], None]]:
    """Return a progress bar that shows nothing."""
    return nullcontext(lambda done, total: None)


def choose_queries(
    examples: Sequence[Example], count: int, seed: int
) -> dict[str, list[Example]]:
    """Draw test inputs that every transform of the paper can change.

    The same inputs are used before and after, so that influences compare.

    Args:
        examples: Candidates.
        count: Inputs to draw.
        seed: Seed of the draw.

    Returns:
        ``original`` and each transform's name to the queries.

    Raises:
        AssayError: No candidate can be changed by all transforms.
    """
    order = list(examples)
    random.Random(seed).shuffle(order)
    usable = [e for e in order if all(t.apply(e.text) for t in PAPER_SIX)]
    log.info(
        "%d of %d test inputs can be changed by all %d transforms",
        len(usable),
        len(order),
        len(PAPER_SIX),
    )
    if not usable:
        raise AssayError(
            "no test input can be changed by every transform (they need clauses and "
            "words such as good/bad); give others with --queries"
        )
    chosen = usable[:count]
    return {
        "original": chosen,
        **{t.name: [e.edit(text=t.apply(e.text)) for e in chosen] for t in PAPER_SIX},
    }


def encode_rows(
    lm: LanguageModel, examples: Sequence[Example], settings: ScanSettings
) -> Encoded:
    """Encode rows, naming how many had to be cut."""
    encoded = encode(
        examples, lm, template=settings.template, max_length=settings.max_length
    )
    warn_truncated(encoded, settings.max_length)
    return encoded


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


@dataclass
class Prepared:
    """A scan's work, ready to be planned and done.

    Attributes:
        rows: Encoded training rows.
        modules: Tracked layers.
        sets: Query set to its encoded queries; empty when no influence is needed.
        sample: Rows the curvature is estimated on.
    """

    rows: list[EncodedExample]
    modules: dict[str, nn.Module]
    sets: dict[str, list[EncodedExample]] = field(default_factory=dict)
    sample: list[EncodedExample] = field(default_factory=list)


def prepare(
    lm: LanguageModel,
    corpus: Corpus,
    settings: ScanSettings,
    queries: Corpus | None = None,
) -> Prepared:
    """Encode rows and queries and choose layers.

    Raises:
        AssayError: All rows are truncated, no layer matches, the attribution is not
            for this model, or no test input can be transformed.
    """
    encoded = encode_rows(lm, corpus.examples, settings)
    modules = linear_modules(
        lm.model, pattern=settings.modules, first=settings.first_layers
    )
    work = Prepared(encoded.examples, modules)
    check_method(settings.attribution, lm.model)
    if settings.factors is not None and not settings.needs_influence:
        raise AssayError("--factors is used with --influence or an influence detector")
    if settings.needs_influence:
        drawn = choose_queries(
            (queries or corpus).examples, settings.queries, settings.seed
        )
        work.sets = {n: encode_rows(lm, q, settings).examples for n, q in drawn.items()}
        count = min(settings.factor_rows, len(corpus))
        work.sample = random.Random(settings.seed).sample(work.rows, count)
    return work


def plan_scan(
    lm: LanguageModel,
    work: Prepared,
    settings: ScanSettings,
    run: Path,
    *,
    shard: Shard = ALONE,
    epochs: int = 0,
) -> Plan:
    """Estimate what a prepared scan costs; see `assay.plan`."""
    return make_plan(
        lm,
        work.rows,
        work.modules,
        settings.passes,
        Work(
            settings.attribution,
            [row for rows in work.sets.values() for row in rows],
            len(work.sets),
            work.sample,
            settings.rank,
            settings.factors is not None,
            epochs,
        ),
        run,
        shard=shard,
        limit=int(settings.max_memory * GIB) if settings.max_memory else None,
    )


def gather(
    lm: LanguageModel,
    corpus: Corpus,
    settings: ScanSettings,
    place: Place,
    bars: Bars = silent,
    queries: Corpus | None = None,
    shard: Shard = ALONE,
) -> Evidence | None:
    """Run the rows through the model once and keep what detectors need.

    Args:
        lm: A model tuned on the corpus.
        corpus: The training data.
        settings: How to scan.
        place: Where measurements are kept; what is there already is not repeated.
        bars: Given a label, returns a progress bar.
        queries: Test inputs for the influences; by default training rows are drawn.
        shard: This process's share of the work.

    Returns:
        The evidence; None on all but the main process.

    Raises:
        AssayError: Nothing can be measured (see `prepare`), it would not fit into
            memory or on the disk, or the run folder holds another job's rows.
    """
    work = prepare(lm, corpus, settings, queries)
    plan = plan_scan(lm, work, settings, place.run, shard=shard)
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
        {t.name: t.category for t in PAPER_SIX},
    )
