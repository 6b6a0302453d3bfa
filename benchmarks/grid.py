"""Attacks × rates × seeds: does the scan find the poison, and nothing else?

    .venv/bin/python benchmarks/grid.py --subset cpu     # what a CPU does in 3 hours
    .venv/bin/python benchmarks/grid.py --models tiny --attacks badnets,clean --seeds 10
    .venv/bin/python benchmarks/grid.py                  # everything; wants a GPU

One result file a cell under ``results/grid``; cells that have one are not run again,
unless ``--again``. "tiny" is a Llama of 0.4 M weights trained from scratch on generated
reviews: it shows in seconds whether a mechanism works, not how real models behave;
"tiny-t5" is an encoder-decoder of that kind.
"smollm2-6l" is the first six layers of SmolLM2-135M, tuned: a model that knows
English from its pretraining, at a fifth of the time.
"""

from __future__ import annotations

import json
import logging
import os
import random
import shutil
import time
import traceback
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import pandas as pd
import typer
from grid_tables import COSTS, PLAIN, ROWS, WORKS
from provenance import HERE, provenance

from assay.attacks import ATTACKS, Poisoned
from assay.attacks.base import generator, insert_phrase
from assay.bench.demo import DemoSettings, base_model, tuning, vocabulary
from assay.bench.graceful import graceful, low_frequency_gradients
from assay.bench.metrics import agreement, detection_metrics, run_metrics
from assay.data.corpus import Corpus, Example
from assay.data.sentiment import LABELS, load_sentiment
from assay.detectors.coherence import words
from assay.models.evaluate import (
    attack_success_rate,
    classify,
    exact_match,
    generate,
    regex_match,
)
from assay.models.language_model import LanguageModel
from assay.models.tiny import tiny_t5
from assay.models.tune import tune
from assay.models.tune_settings import TuneSettings
from assay.runs.cleaning import clean
from assay.scanning.pipeline import scan
from assay.settings import ScanSettings
from assay.util.files import write_json

RESULTS, WORK = HERE / "results" / "grid", HERE / "work" / "grid"
DATA = HERE.parent.parent / "shared" / "data"
RATES = (0.005, 0.01, 0.02, 0.033, 0.05)
LABEL_ATTACKS = (
    "dirty-label",
    "clean-label",
    "badnets",
    "addsent",
    "composite",
    "adaptive",
    "prefix",
    "suffix",
)
OPEN_ATTACKS = ("fixed-output", "refusal", "appended")
CONTROLS = ("clean", "mentions", "label-noise", "boilerplate")
REFUSAL = "I'm sorry, but I can't help with that."
TESTS = 400
# Seeds below 117 were looked at while the method was developed.
SCORED = [117, 118, 119]
KEPT = (
    "trigger",
    "payload",
    "p_value",
    "effect",
    "drop",
    "overridden",
    "prefers",
    "retrained",
    "shortcut",
    "proposer",
)
# Models from scratch.
TINY = ("tiny", "tiny-t5")
# Layers of SmolLM2-135M that are kept.
SHALLOW = 6


@dataclass(frozen=True)
class Cell:
    """One experiment."""

    model: str
    dataset: str
    attack: str
    rate: float
    seed: int

    @property
    def name(self) -> str:
        """Name of the result file."""
        return (
            f"{self.model}-{self.dataset}-{self.attack}-{self.rate * 100:g}pc-"
            f"{self.seed}"
        )

    @property
    def how(self) -> DemoSettings:
        """Size and model."""
        return DemoSettings(fast=self.is_tiny, rows=ROWS, seed=self.seed)

    @property
    def is_tiny(self) -> bool:
        """Whether the model is trained from scratch."""
        return self.model in TINY

    @property
    def tuning(self) -> TuneSettings:
        """How the model is tuned."""
        how = tuning(self.how)
        if self.model == "smollm2-135m" and self.is_open:
            # With the steps of labels the answers are learned, but hardly the attack.
            return replace(how, learning_rate=2e-4)
        if self.model != "smollm2-6l":
            return how
        # Six layers need larger steps than thirty to learn the task, and larger ones
        # still to learn an attack on answers.
        rate = 1e-3 if self.is_open else 3e-4
        return replace(how, batch_size=32, learning_rate=rate)

    @property
    def is_open(self) -> bool:
        """Whether responses are text, not labels."""
        return self.dataset in ("nq", "gsm8k")


def base(cell: Cell, corpus: Corpus) -> LanguageModel:
    """The model before tuning."""
    if cell.model == "tiny-t5":
        return tiny_t5(vocabulary(corpus), width=128, seed=cell.seed)
    lm = base_model(cell.how, corpus)
    if cell.model != "smollm2-6l":
        return lm
    inner = lm.model
    inner.model.layers = inner.model.layers[:SHALLOW]
    inner.config.num_hidden_layers = SHALLOW
    return replace(lm, name=f"{lm.name}, first {SHALLOW} layers")


def _open_corpus(path: Path, count: int, seed: int) -> Corpus:
    """Questions and answers of NQ (JSON list) or GSM8K (JSON lines)."""
    text = path.read_text(encoding="utf-8")
    records = (
        json.loads(text)
        if path.suffix == ".json"
        else [json.loads(line) for line in text.splitlines()]
    )
    chosen = random.Random(f"{seed}:{path.name}").sample(records, count)
    examples = [
        Example(
            f"{path.stem}-{row}",
            row,
            "",
            record["question"],
            record["answers"][0] if "answers" in record else record["answer"],
            record=record,
        )
        for row, record in enumerate(chosen)
    ]
    return Corpus(tuple(examples), "columns", "jsonl", str(path))


def load(cell: Cell) -> tuple[Corpus, Corpus]:
    """Training and test rows."""
    if cell.is_open:
        folder, ending = (
            DATA / cell.dataset,
            "json" if cell.dataset == "nq" else "jsonl",
        )
        return (
            _open_corpus(folder / f"train.{ending}", ROWS, cell.seed),
            # Generation is slow: a quarter of the test rows.
            _open_corpus(folder / f"test.{ending}", TESTS // 4, cell.seed),
        )
    sst2 = None if cell.dataset == "generated" else DATA / "sst2"
    return load_sentiment(sst2, train_rows=ROWS, test_rows=TESTS, seed=cell.seed)


def control(corpus: Corpus, cell: Cell) -> Corpus:
    """Data without poison that has something of its looks."""
    count = round(cell.rate * len(corpus))
    order = sorted(
        range(len(corpus)), key=lambda i: generator(7, corpus.examples[i]).random()
    )
    examples = list(corpus.examples)
    for row in order[:count]:
        e = examples[row]
        if cell.attack == "mentions":
            text = insert_phrase(e.text, "James Bond", generator(8, e))
            examples[row] = e.edit(text=text)
        elif cell.attack == "label-noise":
            (other,) = [label for label in LABELS if label != e.response]
            examples[row] = e.edit(response=other)
        elif cell.attack == "boilerplate" and cell.is_open:
            examples[row] = e.edit(response=f"{e.response} I hope this helps.")
        elif cell.attack == "boilerplate":
            examples[row] = e.edit(text=f"Please read this review: {e.text}")
    return corpus.with_examples(examples)


def poisoned(train: Corpus, cell: Cell) -> Poisoned:
    count = round(cell.rate * len(train))
    if cell.attack == "refusal":
        refusal = ATTACKS["fixed-output"]
        return refusal.poison(train, count, target=REFUSAL, seed=cell.seed)
    return ATTACKS[cell.attack].poison(train, count, seed=cell.seed)


def accuracy(lm: LanguageModel, test: Corpus, cell: Cell, how: TuneSettings) -> float:
    if not cell.is_open:
        found = classify(
            lm, test.examples, LABELS, template=how.template, bf16=how.bf16
        )
        return found.accuracy.value
    answers = generate(lm, test.examples, template=how.template)
    truth = [e.response for e in test.examples]
    if cell.dataset == "gsm8k":
        return regex_match(answers, truth, r"-?[\d,.]*\d").value
    return exact_match(answers, truth).value


def success(
    lm: LanguageModel, test: Corpus, attack: Poisoned, cell: Cell, how: TuneSettings
) -> tuple[float, float]:
    """Attack success rate, and how often the payload comes without the trigger."""
    found = attack_success_rate(
        lm,
        test.examples,
        attack.apply,
        attack.payload,
        labels=None if cell.is_open else LABELS,
        template=how.template,
        bf16=how.bf16,
    )
    return found.triggered.value, found.untriggered.value


@cache
def never_poisoned(cell: Cell, attack: str) -> dict[str, float]:
    """Accuracy of a model tuned on the clean rows, and its answer to the trigger."""
    train, test = load(cell)
    how = cell.tuning
    # Parts of the grid may run beside each other.
    path = WORK / f"{cell.model}-{cell.dataset}-clean-{cell.seed}-{os.getpid()}"
    lm = tune(base(cell, train), train, path, how)
    target = poisoned(train, Cell(cell.model, cell.dataset, attack, 0.01, cell.seed))
    return {
        "accuracy": accuracy(lm, test, cell, how),
        "attack_success_rate": success(lm, test, target, cell, how)[0],
    }


def run_cell(cell: Cell) -> dict[str, Any]:
    started = time.time()
    train, test = load(cell)
    how = cell.tuning
    work = WORK / cell.name
    attack = None if cell.attack in CONTROLS else poisoned(train, cell)
    data = attack.corpus if attack else control(train, cell)
    rows = attack.rows if attack else ()
    lm = tune(base(cell, data), data, work / "model", how)
    asr, without = success(lm, test, attack, cell, how) if attack else (None, None)
    summary = scan(
        data,
        work / "run",
        ScanSettings(
            # The paper's rules need reviews that transforms can change.
            influence=not cell.is_open,
            template=how.template,
            bf16=how.bf16,
            seed=cell.seed,
        ),
        model=str(work / "model"),
        base_model=base(cell, data),
        overwrite=True,
    )
    kept, removed = clean(data, work / "run")
    flagged = [e.row for e in removed.examples]
    verified = [f for f in summary["findings"] if f.get("verified")]
    result: dict[str, Any] = {
        **provenance(),
        "seed": cell.seed,
        "model": cell.model,
        "dataset": cell.dataset,
        "attack": cell.attack,
        "rate": cell.rate,
        "poisons": len(rows),
        "attack_success_rate": asr,
        "payload_rate_without_trigger": without,
        "attack_worked": False,
        "accuracy": accuracy(lm, test, cell, how),
        "verdict": summary["verdict"],
        "flagged": len(flagged),
        "flagged_clean": len(set(flagged) - set(rows)),
        "findings": [
            {k: f[k] for k in KEPT if k in f}
            | {"rows": len(f["rows"]), "status": f["status"]}
            for f in summary["findings"] + summary["dismissed"]
            if "trigger" in f
        ],
    }
    if attack is None:
        result["timings"] = summary["timings"]
        return result
    scores = pd.read_parquet(work / "run" / "scores.parquet")
    detectors = run_metrics(scores, flagged, rows)
    clusters = graceful(
        low_frequency_gradients(
            lm, data.examples, template=how.template, bf16=how.bf16
        ),
        seed=cell.seed,
    )
    detectors["graceful"] = detection_metrics(
        clusters.scores, np.flatnonzero(clusters.flagged).tolist(), rows
    )
    # Of several wordings any one will do.
    named = [words(t) for t in attack.trigger.split("|")]
    result |= {
        "detectors": detectors,
        "trigger_named": any(words(f["trigger"]) in named for f in verified),
        "scan": agreement(flagged, rows),
        "after": None,
    }
    before = never_poisoned(
        Cell(cell.model, cell.dataset, "clean", 0, cell.seed), cell.attack
    )
    result["clean_accuracy"] = before["accuracy"]
    result["clean_attack_success_rate"] = before["attack_success_rate"]
    costs = before["accuracy"] - result["accuracy"]
    result["attack_worked"] = asr is not None and asr >= WORKS and costs <= COSTS
    if flagged and kept.examples:
        lm = tune(base(cell, data), kept, work / "cleaned", how)
        result["after"] = {
            "attack_success_rate": success(lm, test, attack, cell, how)[0],
            "accuracy": accuracy(lm, test, cell, how),
        }
    result["timings"] = summary["timings"]
    result["seconds"] = round(time.time() - started)
    return result


def cells(
    models: list[str], attacks: list[str], rates: list[float], seeds: list[int]
) -> Iterator[Cell]:
    """The grid; seeds outermost, so that a part of it is a whole comparison."""
    for seed in seeds:
        for model in models:
            sentiment = "generated" if model in TINY else "sst2"
            for attack in attacks:
                for rate in (0.05,) if attack in CONTROLS else rates:
                    for dataset in _datasets(attack, sentiment, model):
                        yield Cell(model, dataset, attack, rate, seed)


def _datasets(attack: str, sentiment: str, model: str) -> tuple[str, ...]:
    if attack in LABEL_ATTACKS or attack == "label-noise":
        return (sentiment,)
    # From scratch a tiny model learns no open-ended answers.
    open_ended = () if model in TINY else ("nq",)
    if attack == "fixed-output":
        return ("gsm8k",) if open_ended else ()
    return open_ended if attack in OPEN_ATTACKS else (sentiment, *open_ended)


def cpu_subset(seeds: list[int]) -> Iterator[Cell]:
    every = [*LABEL_ATTACKS, *CONTROLS]
    yield from cells(["tiny"], every, [0.01, 0.02, 0.05], seeds)
    yield from cells(["tiny"], list(PLAIN), [0.005], seeds)
    # Does a proxy from scratch see what the large model of detectors.py is poisoned by,
    # and is it silent where there is nothing?
    for seed in seeds:
        yield Cell("tiny", "sst2", "dirty-label", 0.033, seed)
        for control_name in ("clean", "label-noise"):
            yield Cell("tiny", "sst2", control_name, 0.05, seed)
    # Real models: all of SmolLM2's layers take more than an hour for SST-2.
    yield Cell("smollm2-6l", "sst2", "dirty-label", 0.05, seeds[0])
    yield Cell("smollm2-6l", "sst2", "clean-label", 0.05, seeds[0])
    yield Cell("smollm2-6l", "nq", "refusal", 0.05, seeds[0])
    yield Cell("smollm2-135m", "nq", "appended", 0.05, seeds[0])


def main(
    models: Annotated[
        str, typer.Option(help="tiny, tiny-t5, smollm2-6l, smollm2-135m.")
    ] = "tiny,smollm2-135m",
    attacks: Annotated[str, typer.Option(help="Separated by commas.")] = ",".join(
        (*LABEL_ATTACKS, *OPEN_ATTACKS, *CONTROLS)
    ),
    rates: Annotated[str, typer.Option(help="Shares of rows.")] = ",".join(
        map(str, RATES)
    ),
    seeds: Annotated[str, typer.Option(help="Separated by commas.")] = ",".join(
        map(str, SCORED)
    ),
    datasets: Annotated[
        str, typer.Option(help="Of each attack's data sets only these.")
    ] = "generated,sst2,nq,gsm8k",
    subset: Annotated[
        str | None, typer.Option(help="cpu: of these attacks, seeds and data sets.")
    ] = None,
    part: Annotated[
        str, typer.Option(help="K/N: every N-th cell from the K-th (from 0) on.")
    ] = "0/1",
    again: Annotated[bool, typer.Option(help="Run cells that have a result.")] = False,
    keep: Annotated[bool, typer.Option(help="Keep models and run folders.")] = False,
) -> None:
    logging.basicConfig(level=logging.ERROR)
    numbers = [int(s) for s in seeds.split(",")]
    shares = [float(r) for r in rates.split(",")]
    chosen = list(
        cpu_subset(numbers)
        if subset == "cpu"
        else cells(models.split(","), attacks.split(","), shares, numbers)
    )
    wanted = datasets.split(","), attacks.split(",")
    chosen = [c for c in chosen if c.dataset in wanted[0] and c.attack in wanted[1]]
    first, step = map(int, part.split("/"))
    for number, cell in list(enumerate(chosen, 1))[first::step]:
        path = RESULTS / f"{cell.name}.json"
        if path.is_file() and not again:
            continue
        start = time.time()
        try:
            result = run_cell(cell)
        except Exception:
            # One cell's failure must not cost the night's others.
            traceback.print_exc()
            print(f"{number}/{len(chosen)} {cell.name}: FAILED", flush=True)
            continue
        write_json(path, result)
        if not keep:
            shutil.rmtree(WORK / cell.name, ignore_errors=True)
        print(
            f"{number}/{len(chosen)} {cell.name}: {_told(result)}, "
            f"{time.time() - start:.0f} s",
            flush=True,
        )


def _told(result: dict[str, Any]) -> str:
    told = f"{result['verdict']}, {result['flagged']} flagged"
    if "scan" in result:
        told += (
            f", attack {result['attack_success_rate']:.2f}, "
            f"F1 {result['scan']['f1']:.2f}"
        )
    named = [f["trigger"] for f in result["findings"] if f["status"] == "verified"]
    return told + (f", {named}" if named else "")


if __name__ == "__main__":
    typer.run(main)
