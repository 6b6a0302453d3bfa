"""What the items are measured on: a poisoned data set, a model, and two scans.

The two scans differ in their test inputs alone: drawn at random, or carrying the
trigger, which is put on them. Section 3.4 takes "100 test samples with the highest
concentration of poison keywords", which needs somebody who knows the trigger.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from enum import StrEnum
from functools import cached_property
from pathlib import Path
from typing import Any

from assay.attacks import Poisoned, attack_named, trigger_for
from assay.bench.demo import measure, vocabulary
from assay.bench.reproduce.stages import Stages
from assay.data.corpus import Corpus
from assay.data.read import read_corpus
from assay.data.sentiment import load_sentiment
from assay.data.write import write_corpus
from assay.detectors.evidence import Evidence
from assay.errors import AssayError
from assay.models.load import LanguageModel, load_model
from assay.models.tiny import tiny_t5
from assay.models.tune import tune
from assay.models.tune_settings import TuneSettings
from assay.runs.folder import versions
from assay.scanning.measure import load_evidence
from assay.scanning.pipeline import scan
from assay.scanning.query_choice import QueryChoice
from assay.settings import Bars, ScanSettings, silent
from assay.transforms import PAPER_SIX
from assay.util.files import write_json
from assay.util.hub import SCHEME

# The small encoder-decoder trained from scratch, see `assay.models.tiny.tiny_t5`.
SMALL_T5 = "small-t5"
# Seed of the draw of test inputs, apart from that of the rows.
OTHER_SEED = 1000
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


@dataclass(frozen=True)
class Measured:
    """What a study has measured.

    Attributes:
        poisoned: Positions of the poisons.
        evidence: Choice of test inputs to what was measured with it.
        before: Accuracy and attack success of the tuned model, as
            `assay.bench.demo.measure` returns them.
    """

    poisoned: tuple[int, ...]
    evidence: Mapping[QueryChoice, Evidence]
    before: Mapping[str, Any]


CHOICES = (QueryChoice.RANDOM, QueryChoice.KEYWORDS)


def run_study(
    setup: Setup, bars: Bars = silent, *, overwrite: bool = False
) -> Measured:
    """Poison, tune and scan twice; what is through is not done again.

    Args:
        setup: What is asked for.
        bars: Given a label, returns a progress bar.
        overwrite: Whether another study in the folder may be replaced.

    Returns:
        What was measured.

    Raises:
        AssayError: Something cannot be loaded or written, or the folder holds another
            study, or less than its stages say.
    """
    stages = Stages(setup.folder, setup.key)
    stages.check(overwrite=overwrite)
    stages.run("poison", lambda: _poison(setup))
    stages.run("tune", lambda: _tune(setup, bars))
    for choice in CHOICES:
        stages.run(f"scan-{choice}", lambda choice=choice: _scan(setup, choice, bars))  # type: ignore[misc]
    attack, _, _ = _attacked(setup)
    return Measured(
        attack.rows,
        {choice: _evidence(setup, choice, attack.corpus) for choice in CHOICES},
        _json(setup.folder / "model.json"),
    )


def _poison(setup: Setup) -> None:
    """Draw rows, test rows and test inputs, and poison the rows."""
    study = setup.study
    train, test = load_sentiment(
        setup.sst2, train_rows=study.rows, test_rows=study.test_rows, seed=setup.seed
    )
    # Test inputs of the influences are not those that the model is evaluated on.
    _, other = load_sentiment(
        setup.sst2,
        train_rows=2,
        test_rows=study.query_rows,
        seed=setup.seed + OTHER_SEED,
    )
    seen = {e.text for e in (*train.examples, *test.examples)}
    queries = other.with_examples([e for e in other.examples if e.text not in seen])
    attack = attack_named(study.attack).poison(train, study.poisons, seed=setup.seed)
    for name, corpus in (
        ("train", attack.corpus),
        ("test", test),
        ("queries", queries),
    ):
        write_corpus(corpus, setup.folder / f"{name}.jsonl")
    write_json(
        setup.folder / "poison.json",
        {
            "attack": attack.name,
            "rows": list(attack.rows),
            "trigger": attack.trigger,
            "payload": attack.payload,
        },
    )


def _attacked(setup: Setup) -> tuple[Poisoned, Corpus, Corpus]:
    """Read what `_poison` wrote: the poisoned rows, test rows and test inputs."""
    note = _json(setup.folder / "poison.json")
    train, test, queries = (
        read_corpus(setup.folder / f"{name}.jsonl")
        for name in ("train", "test", "queries")
    )
    attack = Poisoned(
        train,
        tuple(note["rows"]),
        note["attack"],
        note["trigger"],
        note["payload"],
        trigger_for(note["attack"], note["trigger"], setup.seed),
    )
    return attack, test, queries


def _base(setup: Setup, corpus: Corpus) -> LanguageModel:
    if setup.model.name == SMALL_T5:
        return tiny_t5(vocabulary(corpus), width=64, seed=setup.seed)
    return load_model(setup.model.name)


def _tune(setup: Setup, bars: Bars) -> None:
    """Tune the model on the poisoned rows, and measure whether the attack took."""
    attack, test, _ = _attacked(setup)
    how = setup.model.tuning
    lm = _base(setup, attack.corpus)
    with bars("tuning on the poisoned data") as advance:
        lm = tune(
            lm,
            attack.corpus,
            setup.folder / "model",
            how,
            # Another study's model is there only where it may be replaced.
            overwrite=True,
            progress=advance,
        )
    write_json(setup.folder / "model.json", measure(lm, test, attack, how, bars))


def _scan(setup: Setup, choice: QueryChoice, bars: Bars) -> None:
    """Measure influences on test inputs of one choice."""
    attack, _, queries = _attacked(setup)
    study, how = setup.study, setup.model.tuning
    knowing = choice == QueryChoice.KEYWORDS
    scan(
        attack.corpus,
        _run(setup, choice),
        ScanSettings(
            detector="combined",
            query_choice=choice.value,
            keywords=(attack.trigger,) if knowing else (),
            query_count=study.query_count,
            factor_rows=study.factor_rows,
            transforms=study.transforms,
            template=how.template,
            max_length=how.max_length,
            bf16=how.bf16,
            seed=setup.seed,
        ),
        model=str(setup.folder / "model"),
        queries=queries.map(attack.apply) if knowing else queries,
        bars=bars,
        overwrite=True,
    )


def _run(setup: Setup, choice: QueryChoice) -> Path:
    return setup.folder / f"run-{choice}"


def _evidence(setup: Setup, choice: QueryChoice, corpus: Corpus) -> Evidence:
    run = _run(setup, choice)
    key = str(_json(run / "config.json")["key"])
    evidence = load_evidence(run / f"evidence-{key[:16]}", key, corpus)
    if evidence is None:
        raise AssayError(
            f"{run}: its measurements are gone; delete {setup.folder} to make them anew"
        )
    return evidence


def _json(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        raise AssayError(
            f"{path}: is missing or damaged; delete {path.parent} to make it anew"
        ) from None
