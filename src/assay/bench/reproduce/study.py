"""What the items are measured on: data, poison, model, and the size of the scans."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from enum import StrEnum
from functools import cached_property
from pathlib import Path

from assay.models.tune_settings import TuneSettings
from assay.runs.folder import versions
from assay.transforms import PAPER_SIX
from assay.util.hub import SCHEME

# The small encoder-decoder trained from scratch, see `assay.models.tiny.tiny_t5`.
SMALL_T5 = "small-t5"
SST2_FILES = ("train.tsv", "dev.tsv")


class Scale(StrEnum):
    """How large a study is.

    Attributes:
        CPU: Minutes on two cores, with no weights from elsewhere.
        PAPER: The paper's model, from the hub.
    """

    CPU = "cpu"
    PAPER = "paper"


@dataclass(frozen=True)
class Model:
    """What is tuned, and how.

    Attributes:
        name: `SMALL_T5`, or a name that `assay.models.load.load_model` takes.
        tuning: How it is tuned.
    """

    name: str
    tuning: TuneSettings


@dataclass(frozen=True)
class Study:
    """A poisoned data set, the model tuned on it at each scale, and how it is scanned.

    Attributes:
        name: Its name.
        rows: Training rows.
        poisons: Poisons among them.
        test_rows: Rows that accuracy and attack success are measured on.
        attack: Name of the attack.
        query_rows: Rows that the test inputs of the influences are drawn from.
        query_count: Test inputs of each scan.
        factor_rows: Rows that the curvature is estimated on.
        transforms: Transforms of the test inputs.
        models: Scale to model.
    """

    name: str
    rows: int
    poisons: int
    test_rows: int
    attack: str
    query_rows: int
    query_count: int
    factor_rows: int
    transforms: tuple[str, ...]
    models: Mapping[Scale, Model]


# Table 3's data: "SST-2 (1000 samples, 3.3% poison ratio)".
SST2 = Study(
    name="sst2",
    rows=1000,
    poisons=33,
    test_rows=400,
    attack="dirty-label",
    query_rows=840,
    query_count=100,
    factor_rows=256,
    # Section 3.4's wrapper, for what is measured by a single transform.
    transforms=(*(t.name for t in PAPER_SIX), "sorry-not"),
    models={
        # As in benchmarks/detectors.py: training from scratch needs larger steps.
        Scale.CPU: Model(
            SMALL_T5,
            TuneSettings(
                epochs=8,
                learning_rate=2e-3,
                batch_size=32,
                warmup=0.1,
                template="plain",
            ),
        ),
        # As in examples/paper/t5-small.yaml, which says where each comes from.
        Scale.PAPER: Model(
            f"{SCHEME}google/t5-small-lm-adapt",
            TuneSettings(
                epochs=10,
                learning_rate=5e-5,
                batch_size=8,
                schedule="constant",
                template="tk-instruct",
            ),
        ),
    },
)


@dataclass(frozen=True)
class Setup:
    """A study as it is asked for.

    Attributes:
        study: What is measured.
        scale: How large.
        sst2: Folder of SST-2; None for the generated reviews.
        seed: Seed of everything random.
        work: Folder of the stages' results.
    """

    study: Study
    scale: Scale
    sst2: Path | None
    seed: int
    work: Path

    @property
    def data(self) -> str:
        """What the rows are, in words."""
        return "generated reviews" if self.sst2 is None else "SST-2"

    @property
    def model(self) -> Model:
        """What is tuned, with the seed."""
        chosen = self.study.models[self.scale]
        how = TuneSettings(**{**asdict(chosen.tuning), "seed": self.seed})
        return Model(chosen.name, how)

    @property
    def folder(self) -> Path:
        """Where the stages' results are."""
        return self.work / f"{self.study.name}-{self.scale}-{self.seed}"

    @cached_property
    def key(self) -> str:
        """Hash of everything that what is measured depends on."""
        study = {k: v for k, v in asdict(self.study).items() if k != "models"}
        files = [] if self.sst2 is None else [self.sst2 / n for n in SST2_FILES]
        parts = [
            versions()["assay"],
            self.data,
            [hashlib.sha256(f.read_bytes()).hexdigest() for f in files if f.is_file()],
            self.seed,
            study,
            asdict(self.model),
        ]
        return hashlib.sha256(json.dumps(parts).encode()).hexdigest()
