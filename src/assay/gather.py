"""From a corpus and a model to the evidence detectors read, kept on disk."""

from __future__ import annotations

import logging
import random
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file

from assay.data.corpus import Corpus, Example
from assay.detectors import DEFAULT, INFLUENCE, Evidence
from assay.errors import AssayError
from assay.influence.factors import fit_factors
from assay.influence.modules import linear_modules, weight_shape
from assay.influence.passes import PassSettings
from assay.influence.scores import (
    Queries,
    precondition_queries,
    query_gradients,
    score_rows,
)
from assay.models.encode import Encoded, encode, warn_truncated
from assay.models.load import LanguageModel
from assay.runs import replacing
from assay.transforms import PAPER_SIX

log = logging.getLogger("assay")

Bars = Callable[[str], AbstractContextManager[Callable[[int, int], None]]]


@dataclass(frozen=True)
class ScanSettings:
    """How a scan is run.

    Attributes:
        detector: The detector whose flags count; the others' scores are kept too.
        verify: Test the default detector's candidates on the model and flag only what
            passes.
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
    """

    detector: str = DEFAULT
    verify: bool = True
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


def gather(
    lm: LanguageModel,
    corpus: Corpus,
    settings: ScanSettings,
    bars: Bars = silent,
    queries: Corpus | None = None,
) -> Evidence:
    """Run the rows through the model once and keep what detectors need.

    Args:
        lm: A model tuned on the corpus.
        corpus: The training data.
        settings: How to scan.
        bars: Given a label, returns a progress bar.
        queries: Test inputs for the influences; by default training rows are drawn.

    Raises:
        AssayError: All rows are truncated, no layer matches, or no test input can be
            transformed.
    """
    encoded = encode_rows(lm, corpus.examples, settings)
    modules = linear_modules(
        lm.model, pattern=settings.modules, first=settings.first_layers
    )
    passes = PassSettings(bf16=settings.bf16)
    weights = sum(o * i for o, i in map(weight_shape, modules.values()))
    held = len(corpus) * len(modules) * settings.rank**2 * 4
    # Query gradients, and for a moment covariances beside eigenvectors.
    held += weights * 4 * (len(PAPER_SIX) + 5) if settings.needs_influence else 0
    curvature = min(settings.factor_rows, len(corpus))
    log.info(
        "%d rows, %d tokens, %d linear layers; %.2f GB besides the model; 1 pass over "
        "the rows%s",
        len(corpus),
        sum(len(e.input_ids) for e in encoded.examples),
        len(modules),
        held / 1e9,
        f", 2 over {curvature} of them for the curvature"
        if settings.needs_influence
        else "",
    )
    gradients: Queries = {}
    names: list[str] = []
    if settings.needs_influence:
        sets = choose_queries(
            (queries or corpus).examples, settings.queries, settings.seed
        )
        names = list(sets)
        sample = random.Random(settings.seed).sample(encoded.examples, curvature)
        with bars("curvature") as advance:
            factors = fit_factors(lm, sample, modules, passes, progress=advance)
        with bars("test inputs") as advance:
            gradients = query_gradients(
                lm,
                {
                    n: encode_rows(lm, rows, settings).examples
                    for n, rows in sets.items()
                },
                modules,
                passes,
                progress=advance,
            )
        precondition_queries(gradients, factors, damping=settings.damping)
        del factors
    with bars("gradients") as advance:
        rows = score_rows(
            lm,
            encoded.examples,
            modules,
            gradients,
            passes,
            rank=settings.rank,
            seed=settings.seed,
            progress=advance,
        )
    return Evidence(
        [e.text for e in corpus.examples],
        [e.response for e in corpus.examples],
        rows.losses,
        rows.features,
        rows.hidden,
        {n: rows.scores[:, i].astype(np.float64) for i, n in enumerate(names)},
        {t.name: t.category for t in PAPER_SIX},
    )


def save_evidence(evidence: Evidence, path: Path) -> None:
    """Write what was measured, complete or not at all.

    Raises:
        AssayError: The file cannot be written.
    """
    arrays = {
        "losses": evidence.losses,
        "features": np.ascontiguousarray(evidence.features),
        "hidden": np.ascontiguousarray(evidence.hidden),
        **{
            f"influence/{n}": np.ascontiguousarray(v)
            for n, v in evidence.influence.items()
        },
    }
    with replacing(path) as partial:
        save_file(arrays, partial)


def load_evidence(path: Path, corpus: Corpus) -> Evidence | None:
    """Read what `save_evidence` wrote; None when there is nothing or it is damaged."""
    if not path.is_file():
        return None
    try:
        arrays = load_file(path)
    except SafetensorError:
        log.warning("%s is damaged and is computed again", path)
        return None
    return Evidence(
        [e.text for e in corpus.examples],
        [e.response for e in corpus.examples],
        arrays["losses"],
        arrays["features"],
        arrays["hidden"],
        {
            n.removeprefix("influence/"): a
            for n, a in arrays.items()
            if n.startswith("influence/")
        },
        {t.name: t.category for t in PAPER_SIX},
    )
