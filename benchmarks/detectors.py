"""Every detector on dirty-label poison in SST-2, then removal and retuning.

    .venv/bin/python benchmarks/detectors.py            # three seeds, hours on a CPU
    .venv/bin/python benchmarks/detectors.py --seeds 0  # one of them
    .venv/bin/python benchmarks/detectors.py --model small-t5  # encoder-decoder

Finished stages under ``benchmarks/work`` and finished result files are reused.
"""

from __future__ import annotations

import json
import logging
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import numpy as np
import pandas as pd
import typer
from provenance import commit, machine

from assay.attacks import ATTACKS
from assay.attacks.base import Poisoned
from assay.bench.demo import DemoSettings, base_model, measure, tuning, vocabulary
from assay.bench.metrics import detection_metrics, run_metrics
from assay.cli.console import progress_bar
from assay.data.corpus import Corpus
from assay.data.sentiment import load_sentiment
from assay.detectors import DEFAULT, NAMES, PAPER
from assay.models.language_model import LanguageModel
from assay.models.tiny import tiny_t5
from assay.models.tune import tune
from assay.models.tune_settings import TuneSettings
from assay.runs.cleaning import clean
from assay.runs.folder import versions
from assay.scanning.measure import evidence_of
from assay.scanning.pipeline import scan
from assay.settings import ScanSettings
from assay.util.files import write_json

HERE = Path(__file__).parent
QUERIES = 100
FACTOR_ROWS = 256
# Model to training rows and poisons: what is trained from scratch needs more rows.
SIZES = {"smollm2-135m": (1000, 33), "small-t5": (6000, 198)}


def start(model: str, corpus: Corpus, how: DemoSettings) -> LanguageModel:
    if model != "small-t5":
        return base_model(how, corpus)
    return tiny_t5(vocabulary(corpus), width=64, seed=how.seed)


def run_seed(
    seed: int, sst2: Path, attack_name: str, model: str, recovery: bool
) -> dict:
    work = HERE / "work" / f"{model}-{attack_name}-{seed}"
    rows, poisons = SIZES[model]
    how = DemoSettings(rows=rows, poisons=poisons, attack=attack_name, seed=seed)
    tuned = tuning(how)
    if model == "small-t5":
        tuned = replace(
            tuned, epochs=8, learning_rate=2e-3, batch_size=32, warmup=0.1, bf16=False
        )
    started = time.time()
    revision = commit()
    train, test = load_sentiment(
        sst2, train_rows=how.rows, test_rows=how.test_rows, seed=seed
    )
    # Queries are test inputs that are not evaluated on.
    _, other = load_sentiment(sst2, train_rows=2, test_rows=840, seed=seed + 1000)
    seen = {e.text for e in test.examples}
    queries = other.with_examples([e for e in other.examples if e.text not in seen])
    attack = ATTACKS[attack_name].poison(train, how.poisons, seed=seed)
    lm = start(model, attack.corpus, how)
    with progress_bar("poisoned model") as advance:
        lm = tune(lm, attack.corpus, work / "poisoned", tuned, progress=advance)
    before = measure(lm, test, attack, tuned, progress_bar)
    del lm
    summary = scan(
        attack.corpus,
        work / "run",
        ScanSettings(
            influence=True,
            query_count=QUERIES,
            factor_rows=FACTOR_ROWS,
            template=tuned.template,
            bf16=tuned.bf16,
            seed=seed,
        ),
        model=str(work / "poisoned"),
        base_model=start(model, attack.corpus, how),
        queries=queries,
        bars=progress_bar,
        overwrite=True,
    )
    scores = pd.read_parquet(work / "run" / "scores.parquet")
    kept, removed = clean(attack.corpus, work / "run")
    detectors = run_metrics(scores, [e.row for e in removed.examples], attack.rows)
    # Scans leave out what needs a list of names.
    evidence = evidence_of(work / "run", attack.corpus)
    assert evidence is not None
    for name, detect in NAMES.items():
        found = detect(evidence)
        flagged = np.flatnonzero(found.flagged).tolist()
        detectors[name] = detection_metrics(found.scores, flagged, attack.rows)
    knowing = keyword_metrics(
        attack, queries, work, str(work / "poisoned"), tuned, seed
    )
    after = before if recovery else None
    if recovery and len(removed):
        lm = start(model, attack.corpus, how)
        with progress_bar("cleaned model") as advance:
            lm = tune(lm, kept, work / "cleaned", tuned, progress=advance)
        after = measure(lm, test, attack, tuned, progress_bar)
    return {
        "command": " ".join(["python", *sys.argv]),
        "commit": revision,
        "seed": seed,
        "machine": machine(),
        "versions": versions(),
        "model": model,
        "dataset": f"sst2, {how.rows} rows",
        "attack": attack_name,
        "rate": how.poisons / how.rows,
        "attack_worked": before["attack_success_rate"] >= 0.9,
        "before": before,
        "default": DEFAULT,
        "verdict": summary["verdict"],
        "findings": [
            {
                **{k: v for k, v in f.items() if k not in ("rows", "pattern_rows")},
                "flagged": len(f["rows"]),
            }
            for f in summary["findings"] + summary["dismissed"]
        ],
        "detectors": detectors,
        # The same rules with test inputs that carry the trigger.
        "detectors_knowing_the_trigger": knowing,
        "after": after,
        "timings": summary["timings"],
        "seconds": round(time.time() - started),
    }


def keyword_metrics(
    attack: Poisoned,
    queries: Corpus,
    work: Path,
    model: str,
    tuned: TuneSettings,
    seed: int,
) -> dict[str, dict[str, float]]:
    """Figures of the paper's rules with its own choice of test inputs.

    Section 3.4 takes "100 test samples with the highest concentration of poison
    keywords": here, the test inputs with the trigger put on them, which takes somebody
    who knows it.
    """
    carrying = queries.map(attack.apply)
    found = scan(
        attack.corpus,
        work / "run-keywords",
        ScanSettings(
            detector="combined",
            query_choice="keywords",
            keywords=(attack.trigger,),
            query_count=QUERIES,
            factor_rows=FACTOR_ROWS,
            template=tuned.template,
            bf16=tuned.bf16,
            seed=seed,
        ),
        model=model,
        queries=carrying,
        bars=progress_bar,
        overwrite=True,
    )
    assert found["detector"] == "combined"
    scores = pd.read_parquet(work / "run-keywords" / "scores.parquet")
    figures = run_metrics(scores, [], attack.rows)
    return {name: figures[name] for name in PAPER}


def main(
    seeds: Annotated[str, typer.Option(help="Comma-separated seeds.")] = "0,1,2",
    sst2: Annotated[Path, typer.Option(help="Folder of SST-2.")] = (
        HERE / "../../shared/data/sst2"
    ),
    attack: Annotated[str, typer.Option(help="Attack to run.")] = "dirty-label",
    model: Annotated[str, typer.Option(help=f"One of {', '.join(SIZES)}.")] = (
        "smollm2-135m"
    ),
    recovery: Annotated[
        bool, typer.Option(help="Retune on the cleaned data, for a third of the time.")
    ] = True,
) -> None:
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    for seed in map(int, seeds.split(",")):
        path = HERE / "results" / f"detectors-{model}-{attack}-{seed}.json"
        if path.is_file():
            print(f"seed {seed}: done already, see {path}")
            continue
        result = run_seed(seed, sst2, attack, model, recovery)
        write_json(path, result)
        print(json.dumps(result["before"]), json.dumps(result["after"]), flush=True)


if __name__ == "__main__":
    typer.run(main)
