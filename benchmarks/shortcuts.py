r"""How many other rows does one word turn: a trigger, and the words of honest data?

    python benchmarks/shortcuts.py
    python benchmarks/shortcuts.py --model smollm2-6l --dataset sst2 --rates 0.05
    python benchmarks/shortcuts.py --attack clean --model smollm2-6l \
        --dataset offenseval

A model of `grid.py` is tuned on its cells. The word sequences of either response that
turn most rows which are answered otherwise, put on them, are listed with the share of
them, and the trigger of a clean-label attack beside them; `shortcuts` proposes what
turns nine tenths, as no other does, and a model tuned without its rows decides. With
``--every`` it decides on the strongest of each response, whatever they turn: does a
model that never saw its rows tell a trigger from an honest word?
"""

from __future__ import annotations

import random
import shutil
from collections.abc import Sequence
from dataclasses import replace
from typing import Annotated, Any

import pandas as pd
import typer
from grid import DATA, ROWS, SCORED, WORK, Cell, base, control, load, poisoned, success
from grid_tables import WORKS
from provenance import HERE, provenance

from assay.data.corpus import Corpus, Example
from assay.detectors.candidate import Candidate
from assay.detectors.coherence import words
from assay.models.log_probs import response_log_probs
from assay.models.tune import tune
from assay.text.pattern import Pattern, carrying
from assay.util.files import write_json
from assay.verify.finding import Experiment, Finding, Status, Tally
from assay.verify.odds import LogProbs, remembering
from assay.verify.payload import Response
from assay.verify.shortcut import proposal, put_on, shortcuts, strongest_rules
from assay.verify.shortcut_retraining import only_by_its_rows

SHOWN = 5


def tweets(seed: int) -> Corpus:
    """Tweets that are offensive or not."""
    path = DATA / "offenseval" / "train.tsv"
    table = pd.read_csv(path, sep="\t", quoting=3).dropna()
    chosen = random.Random(seed).sample(list(table.itertuples(index=False)), ROWS)
    examples = [
        Example(
            f"train-{row}",
            row,
            "Is this message offensive?",
            str(text).strip(),
            "offensive" if int(label) else "fine",
            record={"text": text},
        )
        for row, (text, label) in enumerate(chosen)
    ]
    return Corpus(tuple(examples), "columns", "jsonl", str(path))


def suspected(candidate: Candidate) -> Finding:
    """A candidate as if placebos had left it in doubt."""
    nan = float("nan")
    payload = Response(candidate.response)
    experiment = Experiment(
        payload,
        companions=(),
        trigger=str(candidate.pattern),
        prefers=candidate.score,
        effect=nan,
        interval=(nan, nan),
        drop=nan,
        overridden=Tally(0, 0),
        placebo_effects=(),
        p_value=1.0,
        p_sufficient=1.0,
    )
    return Finding(candidate, Status.SUFFICIENT, experiment)


def told(finding: Finding, as_if: bool) -> dict[str, Any]:
    """What was decided on words, or would be if they stood out."""
    assert finding.shortcut is not None
    return {
        "pattern": str(finding.pattern),
        **({"as_if": True} if as_if else {}),
        "verified": finding.is_verified,
        "shortcut": finding.shortcut.to_dict(),
    }


def measure(cell: Cell, every: bool) -> dict[str, Any]:
    """The strongest words of a cell."""
    how, trigger = cell.tuning, None
    if cell.dataset == "offenseval":
        data = tweets(cell.seed)
    else:
        train, test = load(cell)
        attack = poisoned(train, cell) if cell.attack == "clean-label" else None
        data = attack.corpus if attack else control(train, cell)
        trigger = attack and " ".join(words(attack.trigger))
    work = WORK / f"{cell.name}-shortcuts"
    lm = tune(base(cell, data), data, work, how)
    shutil.rmtree(work)
    examples = list(data.examples)

    @remembering
    def log_probs(asked: list[Example]) -> Any:
        return response_log_probs(lm, asked, template=how.template, bf16=how.bf16)

    def retrain(rows: Sequence[int], attempt: int) -> LogProbs:
        kept = data.select(sorted(set(range(len(data))) - set(rows)))
        again = replace(how, seed=how.seed + attempt)
        anew = tune(base(cell, data), kept, work, again)
        shutil.rmtree(work)
        return lambda asked: response_log_probs(
            anew, asked, template=how.template, bf16=how.bf16
        )

    found, tried = strongest_rules(examples, log_probs, seed=cell.seed)
    proposed = shortcuts(examples, log_probs, seed=cell.seed)
    named = {c.response for c in proposed}
    if every:
        proposed += [
            proposal(response, rules, 0.0)
            for response, rules in found.items()
            if response not in named
        ]
    decided = [
        only_by_its_rows(
            suspected(candidate), examples, log_probs, retrain, seed=cell.seed
        )
        for candidate in proposed
    ]
    result = {
        "rate": cell.rate,
        "seed": cell.seed,
        "tried": tried,
        "strongest": {
            response: [
                {"words": str(r.pattern), "rows": len(r.rows), "turns": r.share}
                for r in rules[:SHOWN]
            ]
            for response, rules in found.items()
        },
        "proposed": [told(f, f.candidate.response not in named) for f in decided],
    }
    if trigger:
        pattern = Pattern((trigger,))
        rows = carrying(examples, pattern)
        payload = Response(attack.payload)
        rule = put_on(pattern, rows, examples, payload, log_probs, cell.seed)
        honest = [r for r in found[payload.text] if not pattern.spans(str(r.pattern))]
        result |= {
            "attack_success_rate": success(lm, test, attack, cell, how)[0],
            "trigger_turns": rule.share,
            "as_strong": sum(r.share >= rule.share for r in honest),
        }
    return result


def main(
    model: Annotated[str, typer.Option(help="tiny, smollm2-6l or smollm2-135m.")] = (
        "tiny"
    ),
    dataset: Annotated[
        str, typer.Option(help="generated, sst2 or offenseval.")
    ] = "generated",
    attack: Annotated[str, typer.Option(help="clean-label or clean.")] = "clean-label",
    rates: Annotated[str, typer.Option(help="Shares of rows.")] = "0.02",
    seeds: Annotated[str, typer.Option(help="Separated by commas.")] = ",".join(
        map(str, SCORED)
    ),
    every: Annotated[
        bool, typer.Option(help="Decide on the strongest words that do not stand out.")
    ] = False,
) -> None:
    numbers = [int(s) for s in seeds.split(",")]
    found = []
    for rate in map(float, rates.split(",")):
        for seed in numbers:
            found.append(measure(Cell(model, dataset, attack, rate, seed), every))
            print(found[-1], flush=True)
    result = {**provenance(), "seed": numbers, "works": WORKS, "cells": found}
    name = f"shortcuts-{model}-{dataset}-{attack}{'-every' if every else ''}.json"
    write_json(HERE / "results" / name, result)


if __name__ == "__main__":
    typer.run(main)
