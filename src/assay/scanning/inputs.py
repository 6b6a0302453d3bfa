"""A scan's work: rows, test inputs and layers chosen, and what they will cost."""

from __future__ import annotations

import logging
import random
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from torch import nn

from assay.data.corpus import Example
from assay.detectors.single_transform import chosen_transform
from assay.errors import AssayError
from assay.influence.attribution import check_method
from assay.influence.modules import linear_modules
from assay.influence.probe import trackable
from assay.influence.sharding import ALONE, Shard
from assay.models.encode import Encoded, EncodedExample, encode, warn_truncated
from assay.models.language_model import LanguageModel
from assay.models.positions import check_positions
from assay.scanning.cost import GIB, Plan, Work, make_plan
from assay.scanning.job import Job
from assay.scanning.query_choice import ordered
from assay.settings import ScanSettings
from assay.text.pattern import Pattern
from assay.transforms import (
    PAPER_SIX,
    Transform,
    transform_examples,
    transforms_named,
)
from assay.verify.rounds import most_experiments

log = logging.getLogger("assay")


def choose_queries(
    examples: Sequence[Example],
    count: int,
    seed: int,
    transforms: Sequence[Transform] = PAPER_SIX,
    patterns: Sequence[Pattern] | None = None,
) -> dict[str, list[Example]]:
    """Draw test inputs that a transform can change.

    The same inputs are used before and after. One that a transform cannot change is
    missing from that transform's set alone, so the average there is over fewer inputs;
    a transform that can change none of those drawn is left out.

    Args:
        examples: Candidates.
        count: Inputs to draw.
        seed: Seed of the draw.
        transforms: What is done to them.
        patterns: Words that the inputs should carry as much of as can be; by default
            they are drawn at random.

    Returns:
        ``original`` and each transform's name to the queries.

    Raises:
        AssayError: No candidate can be changed by any transform, or carries any of
            the patterns.
    """
    order = ordered(examples, patterns, seed)
    usable = [e for e in order if any(t.apply(e.text) for t in transforms)]
    names = ", ".join(t.name for t in transforms)
    if not usable:
        raise AssayError(
            f"no test input can be changed by any transform ({names}); give others "
            "with --queries"
        )
    chosen = usable[:count]
    sets = {"original": chosen}
    for transform in transforms:
        changed, unchanged = transform_examples(chosen, transform)
        if not changed:
            log.warning("%s can change no test input: left out", transform.name)
            continue
        sets[transform.name] = changed
        log.info(
            "%s: %d of %d test inputs changed%s",
            transform.name,
            len(changed),
            len(chosen),
            f", {len(unchanged)} left out of its average" if unchanged else "",
        )
    return sets


def encode_rows(
    lm: LanguageModel, examples: Sequence[Example], settings: ScanSettings
) -> Encoded:
    """Encode rows, naming how many had to be cut.

    Raises:
        AssayError: All rows are cut, or one is longer than the model's positions.
    """
    encoded = encode(
        examples, lm, template=settings.template, max_length=settings.max_length
    )
    warn_truncated(encoded, settings.max_length)
    check_positions(lm, encoded.examples)
    return encoded


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


def prepare(lm: LanguageModel, job: Job) -> Prepared:
    """Encode rows and queries and choose layers.

    Raises:
        AssayError: All rows are truncated or one is too long for the model, no layer
            matches or can be tracked, the attribution is not for this model, or no
            test input can be transformed.
    """
    corpus, settings = job.corpus, job.settings
    encoded = encode_rows(lm, corpus.examples, settings)
    modules = linear_modules(
        lm.model, pattern=settings.modules, first=settings.first_layers, shared=True
    )
    modules = trackable(lm, modules, pattern=settings.modules)
    work = Prepared(encoded.examples, modules)
    check_method(settings.attribution, lm.model)
    if settings.factors is not None and not settings.needs_influence:
        raise AssayError("--factors is used with --influence or an influence detector")
    if settings.needs_influence:
        drawn = choose_queries(
            (job.queries or corpus).examples,
            settings.query_count,
            settings.seed,
            transforms_named(settings.transforms),
            job.patterns,
        )
        # Told before anything is measured: one that changes no input was left out.
        chosen_transform(
            [n for n in drawn if n != "original"], settings.single_transform
        )
        work.sets = {n: encode_rows(lm, q, settings).examples for n, q in drawn.items()}
        count = min(settings.factor_rows, len(corpus))
        work.sample = random.Random(settings.seed).sample(work.rows, count)
    return work


def plan_scan(
    lm: LanguageModel,
    work: Prepared,
    job: Job,
    run: Path,
    *,
    shard: Shard = ALONE,
    tuned: bool = True,
) -> Plan:
    """Estimate what a prepared scan costs; see `assay.scanning.cost`.

    Args:
        lm: Model and tokenizer.
        work: The scan's work.
        job: What is scanned, and how.
        run: The run folder.
        shard: This process's share of the work.
        tuned: Whether a proxy has been tuned already.
    """
    settings = job.settings
    proxy = job.proxy_tuning
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
            proxy.epochs if proxy and not tuned else 0,
            most_experiments(job.corpus.examples, settings.fdr) if job.verifies else 0,
            job.retraining.epochs if job.retraining else 0,
        ),
        run,
        shard=shard,
        limit=int(settings.max_memory * GIB) if settings.max_memory else None,
    )
