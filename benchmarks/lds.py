"""Do influences foretell what retraining on other rows does? Linear datamodeling score.

    .venv/bin/python benchmarks/lds.py      # a small Llama, 3 × 40 retrainings, minutes

A model is trained from scratch on SST-2 and again on random halves of its rows. For
each test input, the change of its loss over the halves is rank-correlated with the sum
of the influences of the rows in each half (Park et al. 2023, "TRAK", section 3.2). The
mean over test inputs is the score: 0 foretells nothing, 1 everything. Finished
retrainings under ``benchmarks/work/lds`` are reused.
"""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from pathlib import Path
from typing import Annotated

import numpy as np
import torch
import typer
from provenance import HERE, provenance
from scipy.stats import spearmanr

from assay.cli.console import progress_bar
from assay.data.corpus import Corpus
from assay.data.sentiment import load_sentiment
from assay.influence.attribution import apply_curvature
from assay.influence.modules import linear_modules
from assay.influence.passes import PassSettings
from assay.influence.queries import query_gradients
from assay.influence.scores import score_rows
from assay.models.encode import encode
from assay.models.language_model import LanguageModel
from assay.models.tiny import tiny_causal
from assay.models.tune import tune
from assay.models.tune_settings import TuneSettings
from assay.util.files import write_json

WIDTH, LAYERS = 32, 2
PASSES = PassSettings(token_budget=8192, max_batch=64)
HOW = TuneSettings(
    epochs=12,
    learning_rate=3e-3,
    batch_size=32,
    warmup=0.1,
    bf16=False,
    template="plain",
)


def fresh(corpus: Corpus, seed: int) -> LanguageModel:
    return tiny_causal(
        [f"{e.instruction} {e.text} {e.response}" for e in corpus.examples],
        width=WIDTH,
        layers=LAYERS,
        seed=seed,
    )


def test_losses(lm: LanguageModel, test: Corpus) -> np.ndarray:
    rows = encode(test.examples, lm, template="plain").examples
    return score_rows(lm, rows, linear_modules(lm.model), {}, PASSES, rank=0).losses


def scores(lm: LanguageModel, train: Corpus, test: Corpus, method: str) -> np.ndarray:
    """Influence of every row on every test input, ``(N, K)``."""
    modules = linear_modules(lm.model)
    rows = encode(train.examples, lm, template="plain").examples
    queries = encode(test.examples, lm, template="plain").examples
    if method == "repsim":
        ours = score_rows(lm, rows, modules, {}, PASSES, rank=0).hidden
        theirs = score_rows(lm, queries, modules, {}, PASSES, rank=0).hidden
        ours, theirs = (h / np.linalg.norm(h, axis=1)[:, None] for h in (ours, theirs))
        return ours @ theirs.T
    gradients = query_gradients(lm, {"test": queries}, modules, PASSES, per_query=True)
    apply_curvature(method, lm, rows, modules, gradients, PASSES)
    return score_rows(lm, rows, modules, gradients, PASSES, rank=0).scores


def lds(predicted: np.ndarray, losses: np.ndarray) -> np.ndarray:
    """Spearman correlation over subsets, for each test input."""
    columns = zip(predicted.T, -losses.T, strict=True)
    return np.array([spearmanr(p, q).statistic for p, q in columns])


def main(
    rows: int = 300,
    queries: int = 100,
    subsets: Annotated[int, typer.Option(min=30)] = 40,
    repeats: Annotated[int, typer.Option(help="Retrainings on each half.")] = 3,
    seed: int = 0,
    sst2: Path = HERE.parent.parent / "shared" / "data" / "sst2",
    out: Path = HERE / "results" / "lds.json",
) -> None:
    """Measure and write the result file."""
    work = HERE / "work" / "lds" / f"{rows}-{queries}-{seed}"
    train, test = load_sentiment(sst2, train_rows=rows, test_rows=queries, seed=seed)
    lm = tune(fresh(train, seed), train, work / "all", HOW)
    with progress_bar("influences") as advance:
        methods = ("ekfac", "diagonal", "identity", "repsim")
        found = {}
        for done, method in enumerate(methods, start=1):
            found[method] = scores(lm, train, test, method)
            advance(done, len(methods))
    generator = np.random.default_rng(seed)
    members, losses = [], []
    with progress_bar("retraining on halves") as advance:
        for index in range(subsets):
            chosen = np.sort(generator.permutation(rows)[: rows // 2])
            members.append(np.isin(np.arange(rows), chosen))
            half = train.select(chosen.tolist())
            each = []
            for repeat in range(repeats):
                path = work / f"{index}-{repeat}.json"
                if not path.exists():
                    # The vocabulary stays that of all rows.
                    retrained = tune(
                        fresh(train, seed),
                        half,
                        work / "model",
                        replace(HOW, seed=repeat),
                    )
                    write_json(path, test_losses(retrained, test).tolist())
                each.append(json.loads(path.read_text()))
                advance(index * repeats + repeat + 1, subsets * repeats)
            # The order of the rows moves a loss too; that is noise here.
            losses.append(np.mean(each, axis=0))
    inside, after = np.array(members, np.float64), np.array(losses)
    result = {}
    for method, matrix in found.items():
        each = lds(inside @ matrix, after)
        result[method] = {
            "lds": round(float(each.mean()), 4),
            "standard_error": round(float(each.std() / len(each) ** 0.5), 4),
        }
    write_json(
        out,
        {
            **provenance(),
            "seed": seed,
            "model": f"Llama of width {WIDTH} and {LAYERS} layers, trained on the rows",
            "dataset": f"sst2, {rows} rows, {queries} test inputs",
            "subsets": subsets,
            "retrainings_per_subset": repeats,
            "tuning": asdict(HOW),
            "mean_test_loss": round(float(np.mean(test_losses(lm, test))), 4),
            "methods": result,
        },
    )
    for method, line in result.items():
        print(f"{method:>9}  {line['lds']:.3f} ± {line['standard_error']:.3f}")


if __name__ == "__main__":
    torch.set_num_threads(1)
    typer.run(main)
