"""A study from rows to evidence: poisoned, tuned and scanned twice.

The two scans differ in their test inputs alone: drawn at random, or carrying the
trigger, which is put on them. Section 3.4 takes "100 test samples with the highest
concentration of poison keywords", which needs somebody who knows the trigger.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from assay.attacks import Poisoned, attack_named, trigger_for
from assay.bench.demo import measure, vocabulary
from assay.bench.reproduce.stages import Stages
from assay.bench.reproduce.study import SMALL_T5, Setup
from assay.data.corpus import Corpus
from assay.data.read import read_corpus
from assay.data.sentiment import load_sentiment
from assay.data.write import write_corpus
from assay.detectors.evidence import Evidence
from assay.errors import AssayError
from assay.models.language_model import LanguageModel
from assay.models.load import load_model
from assay.models.tiny import tiny_t5
from assay.models.tune import tune
from assay.scanning.measure import evidence_of
from assay.scanning.pipeline import scan
from assay.settings import Bars, QueryChoice, ScanSettings, silent
from assay.util.files import write_json

CHOICES = (QueryChoice.RANDOM, QueryChoice.KEYWORDS)
# Seed of the draw of test inputs, apart from that of the rows.
OTHER_SEED = 1000


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
    evidence = evidence_of(run, corpus)
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
