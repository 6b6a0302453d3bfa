"""What a scan is of: data, model, settings, and what tells one scan from another."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from assay.data.corpus import Corpus
from assay.detectors import DEFAULT, DEFAULT_RULES, DETECTORS
from assay.errors import AssayError
from assay.influence.attribution import check_name
from assay.influence.modules import check_pattern
from assay.models.language_model import LanguageModel
from assay.models.load import weights_hash
from assay.models.tune import tuned_how
from assay.models.tune_settings import TuneSettings
from assay.settings import ScanSettings
from assay.text.pattern import Pattern
from assay.transforms import transforms_named
from assay.util.hub import model_folder, parse_hub
from assay.util.version import VERSION
from assay.verify.thresholds import FDR

Model = str | LanguageModel
# Settings that matter to influences alone.
OF_INFLUENCES = ("transforms", "query_choice", "keywords")


@dataclass(frozen=True)
class Job:
    """A scan to be done.

    Attributes:
        corpus: The training data.
        settings: How to scan.
        model: The model given, or the base model of a proxy.
        base_model: What the model was, or the proxy is to be, tuned from.
        tuning: How the base model is tuned; None without one.
        is_proxy: Whether a proxy has to be tuned first.
        queries: Test inputs for the influences.
        patterns: Words that they are chosen by; None draws them at random. It follows
            from the settings and what the first pass has measured.
    """

    corpus: Corpus
    settings: ScanSettings
    model: Model
    base_model: Model | None
    tuning: TuneSettings | None
    is_proxy: bool
    queries: Corpus | None = None
    patterns: tuple[Pattern, ...] | None = None

    @property
    def proxy_tuning(self) -> TuneSettings | None:
        """How a proxy is tuned before the scan; None without one."""
        return self.tuning if self.is_proxy else None

    @property
    def verifies(self) -> bool:
        """Whether patterns are tested on the model."""
        return self.settings.verify and self.settings.detector == DEFAULT

    @property
    def retraining(self) -> TuneSettings | None:
        """How the base model is tuned again to decide; None where it is not."""
        return self.tuning if self.verifies and self.settings.retrain else None

    @property
    def read(self) -> list[str | None]:
        """Names of what a scan reads, wherever that is."""
        models = [m for m in (self.model, self.base_model) if m is not None]
        queries = self.queries.source if self.queries else None
        return [
            self.corpus.source,
            *map(_name, models),
            queries,
            self.settings.factors,
        ]

    @cached_property
    def data(self) -> str:
        """Hash of the training data."""
        return self.corpus.content_hash()

    @cached_property
    def content(self) -> list[Any]:
        """What tells the model given from others."""
        return _fingerprint(self.model)

    @property
    def tuned(self) -> dict[str, Any] | None:
        """How the model given is tuned first, as it is written down."""
        return asdict(self.proxy_tuning) if self.proxy_tuning else None

    @property
    def measured(self) -> list[Any]:
        """What tells the model that is measured from others."""
        return [*self.content, self.tuned]

    @cached_property
    def key(self) -> str:
        """Hash of everything that measurements depend on."""
        # Which detector is asked for, and how, does not change what is measured, only
        # whether transformed inputs are.
        how = replace(
            self.settings,
            detector="",
            verify=True,
            retrain=True,
            fdr=FDR,
            influence=self.settings.needs_influence,
            **self._measured_queries,
            **asdict(DEFAULT_RULES),
            factors=None,
            max_memory=None,
        )
        queries = self.queries.content_hash() if self.queries else None
        parts = [
            VERSION,
            *self.content,
            self.data,
            queries,
            asdict(how),
            self.tuned,
        ]
        return hashlib.sha256(json.dumps(parts).encode()).hexdigest()

    @property
    def _measured_queries(self) -> dict[str, Any]:
        """Settings that matter to influences alone, as far as any are measured."""
        if not self.settings.needs_influence:
            return {n: getattr(ScanSettings, n) for n in OF_INFLUENCES}
        names = tuple(t.name for t in transforms_named(self.settings.transforms))
        return {"transforms": names}

    def config(self, key: str) -> dict[str, Any]:
        """Describe the job for ``config.json``."""
        base = None if self.is_proxy else self.base_model
        return {
            "input": self.corpus.source,
            "format": self.corpus.format,
            "mapping": dict(self.corpus.mapping),
            "split": self.corpus.split,
            "skip_bad_rows": any(left.is_bad for left in self.corpus.left_out),
            "model": _name(self.model),
            "base_model": None if base is None else _name(base),
            "queries": self.queries.source if self.queries else None,
            "tuning": self.tuned,
            # As JSON has them, to be compared with what is read back.
            "settings": {
                n: list(v) if isinstance(v, tuple) else v
                for n, v in asdict(self.settings).items()
            },
            "data": self.data,
            "key": key,
        }


def job_of(
    corpus: Corpus,
    settings: ScanSettings,
    model: Model | None,
    base_model: Model | None,
    proxy: TuneSettings | None = None,
    queries: Corpus | None = None,
) -> Job:
    """Choose the model, its prompt template, and how its base is tuned.

    What no scan can be made of is refused here, so that ``scan`` and ``plan`` agree.

    Args:
        corpus: The training data.
        settings: How to scan; the template of a model that was tuned here is known.
        model: A model tuned on the corpus.
        base_model: What it was tuned from, or what a proxy is tuned from.
        proxy: How to tune the base model; as the model was tuned where its folder
            notes that.
        queries: Test inputs for the influences.

    Raises:
        AssayError: No model is given, the detector or a transform is unknown, the
            single-transform rule's is not run, or there is one row.
    """
    if settings.detector not in DETECTORS:
        raise AssayError(
            f"unknown detector {settings.detector!r}; known: {', '.join(DETECTORS)}"
        )
    check_name(settings.attribution)
    if settings.factors is not None and not Path(settings.factors).is_file():
        raise AssayError(f"{settings.factors}: no such file of factors")
    check_pattern(settings.modules)
    transforms = [t.name for t in transforms_named(settings.transforms)]
    if settings.single_transform not in (None, *transforms):
        raise AssayError(
            f"single_transform {settings.single_transform!r} is not run; chosen: "
            f"{', '.join(transforms)}"
        )
    if len(corpus) < 2:
        raise AssayError(f"{corpus.source}: one row; a scan compares rows with others")
    noted = tuned_how(model) if isinstance(model, str) else None
    if settings.template == "auto" and noted is not None:
        settings = replace(settings, template=noted.template)
    tuning = None
    if base_model is not None:
        tuning = replace(
            noted or proxy or TuneSettings(),
            template=settings.template,
            max_length=settings.max_length,
            bf16=settings.bf16,
            seed=settings.seed,
        )
    given = base_model if model is None else model
    if given is None:
        raise AssayError("give --model (tuned on this data), --base-model, or both")
    patterns = tuple(map(Pattern.parse, settings.keywords)) or None
    is_proxy = model is None
    return Job(corpus, settings, given, base_model, tuning, is_proxy, queries, patterns)


def _fingerprint(model: Model) -> list[Any]:
    """Name a model's content: files with sizes and times, a commit, or its weights."""
    if not isinstance(model, str):
        return [model.name, weights_hash(model)]
    path = Path(model)
    hub = None if path.exists() else parse_hub(model)
    if hub is not None and (folder := model_folder(hub)) is not None:
        # The cache names a folder after the commit that it holds.
        return [model, folder.name]
    files = sorted(path.glob("*.safetensors")) if path.is_dir() else [path]
    return [model] + [
        (f.name, f.stat().st_size, f.stat().st_mtime_ns) for f in files if f.exists()
    ]


def _name(model: Model) -> str:
    return model if isinstance(model, str) else model.name
