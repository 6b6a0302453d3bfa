"""The main job: from a data set and a model to a run folder with a verdict."""

from __future__ import annotations

import hashlib
import json
import logging
import platform
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file

import assay
from assay.data.corpus import Corpus
from assay.detectors.activation_clustering import activation_clustering
from assay.detectors.evidence import Detection, Evidence
from assay.detectors.gradient_geometry import gradient_geometry
from assay.detectors.high_loss import high_loss
from assay.detectors.spectral import spectral
from assay.errors import AssayError
from assay.influence.modules import linear_modules
from assay.influence.passes import PassSettings
from assay.influence.scores import score_rows
from assay.models.encode import encode
from assay.models.load import LanguageModel, load_model
from assay.models.tune import TuneSettings, tune

log = logging.getLogger("assay")

DETECTORS: dict[str, Callable[[Evidence], Detection]] = {
    "gradient-geometry": gradient_geometry,
    "high-loss": high_loss,
    "spectral": spectral,
    "activation-clustering": activation_clustering,
}
DEFAULT = "gradient-geometry"
Bars = Callable[[str], AbstractContextManager[Callable[[int, int], None]]]


@dataclass(frozen=True)
class ScanSettings:
    """How a scan is run.

    Attributes:
        detector: The detector whose flags count; the others' scores are kept too.
        template: Prompt template.
        max_length: Longest example in tokens.
        bf16: Run the model under bfloat16 autocast.
        modules: Regular expression of the linear layers to track; all by default.
        first_layers: Track the first transformer blocks only.
        rank: Side of each layer's projected gradient.
        seed: Seed of projections, FastICA and proxy tuning.
    """

    detector: str = DEFAULT
    template: str = "auto"
    max_length: int = 512
    bf16: bool = False
    modules: str | None = None
    first_layers: int | None = None
    rank: int = 16
    seed: int = 0


def silent(_: str) -> AbstractContextManager[Callable[[int, int], None]]:
    """Return a progress bar that shows nothing."""
    return nullcontext(lambda done, total: None)


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


def gather(
    lm: LanguageModel, corpus: Corpus, settings: ScanSettings, bars: Bars = silent
) -> Evidence:
    """Run the rows through the model once and keep what detectors need.

    Raises:
        AssayError: All rows are truncated, or no layer matches.
    """
    encoded = encode(
        corpus.examples, lm, template=settings.template, max_length=settings.max_length
    )
    if encoded.truncated:
        log.warning(
            "%d of %d rows are cut to %d tokens",
            encoded.truncated,
            len(corpus),
            settings.max_length,
        )
    modules = linear_modules(
        lm.model, pattern=settings.modules, first=settings.first_layers
    )
    with bars("gradients") as advance:
        rows = score_rows(
            lm,
            encoded.examples,
            modules,
            {},
            PassSettings(bf16=settings.bf16),
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
    )


def _cached(
    path: Path, corpus: Corpus, make: Callable[[], Evidence], notes: dict[str, bool]
) -> Evidence:
    texts = [e.text for e in corpus.examples]
    responses = [e.response for e in corpus.examples]
    if path.is_file():
        try:
            arrays = load_file(path)
        except SafetensorError:
            log.warning("%s is damaged and is computed again", path)
        else:
            log.info("reusing the evidence in %s", path)
            notes["reused"] = True
            return Evidence(texts, responses, **arrays)
    evidence = make()
    partial = path.with_suffix(".partial")
    try:
        save_file(
            {
                "losses": evidence.losses,
                "features": np.ascontiguousarray(evidence.features),
                "hidden": np.ascontiguousarray(evidence.hidden),
            },
            partial,
        )
        partial.replace(path)
    except (OSError, SafetensorError) as error:
        partial.unlink(missing_ok=True)
        raise AssayError(f"{path}: cannot be written ({error})") from None
    return evidence


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
                file.write(json.dumps(line, ensure_ascii=False) + "\n")
        partial.replace(run / "flags.jsonl")
    except OSError as error:
        raise AssayError(f"{run}: cannot be written ({error.strerror})") from None


def scan(
    corpus: Corpus,
    run: Path,
    settings: ScanSettings,
    *,
    model: str | LanguageModel | None = None,
    base_model: str | LanguageModel | None = None,
    proxy: TuneSettings | None = None,
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
    try:
        run.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise AssayError(f"{run}: cannot be made ({error.strerror})") from None
    given = model if model is not None else base_model
    assert given is not None
    name = given if isinstance(given, str) else given.name
    how = asdict(replace(settings, detector=DEFAULT))
    tuning = None
    if base_model is not None:
        tuning = replace(
            proxy or TuneSettings(),
            template=settings.template,
            max_length=settings.max_length,
            bf16=settings.bf16,
            seed=settings.seed,
        )
    fingerprint = _fingerprint(name) + [corpus.content_hash(), how]
    fingerprint.append(asdict(tuning) if tuning else None)
    key = hashlib.sha256(json.dumps(fingerprint).encode()).hexdigest()
    config = {
        "input": corpus.source,
        "format": corpus.format,
        "model": name,
        "tuning": asdict(tuning) if tuning else None,
        "settings": asdict(settings),
        "key": key,
    }
    timings: dict[str, float] = {}
    notes = {"reused": False}
    small = [len(g) for g in _small_groups(corpus)]
    if small:
        log.warning(
            "%d responses have fewer than 20 rows: too few to judge", len(small)
        )

    def measure() -> Evidence:
        if isinstance(given, LanguageModel):
            lm = given
        else:
            lm = load_model(given)
        if tuning is not None:
            with _timed(timings, "tune"), bars("tuning a proxy") as advance:
                lm = tune(lm, corpus, run / "proxy", tuning, progress=advance)
        return gather(lm, corpus, settings, bars)

    with _timed(timings, "evidence"):
        path = run / f"evidence-{key[:16]}.safetensors"
        evidence = _cached(path, corpus, measure, notes)
    timings["evidence"] = round(timings["evidence"] - timings.get("tune", 0.0), 2)
    with _timed(timings, "detect"):
        detections = {n: detect(evidence) for n, detect in DETECTORS.items()}
    chosen = detections[settings.detector]
    _tables(run, corpus, detections, chosen)
    summary = {
        "verdict": chosen.verdict,
        "rows": len(corpus),
        "flagged": int(chosen.flagged.sum()),
        "detector": settings.detector,
        "findings": chosen.findings,
        "reused": notes["reused"],
        "timings": timings,
        "versions": versions(),
    }
    write_json(run / "config.json", config)
    write_json(run / "summary.json", summary)
    return summary


def _small_groups(corpus: Corpus) -> list[list[int]]:
    from assay.detectors.evidence import response_groups

    groups = response_groups([e.response for e in corpus.examples])
    return [g.tolist() for g in groups if len(g) < 20]


def clean(corpus: Corpus, run: Path) -> tuple[Corpus, Corpus]:
    """Split a corpus into clean and removed rows by a run's flags.

    Raises:
        AssayError: The run is missing or is of other data.
    """
    path = run / "scores.parquet"
    if not path.is_file():
        raise AssayError(f"{run}: not a run folder (no scores.parquet); run assay scan")
    table = pd.read_parquet(path)
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
