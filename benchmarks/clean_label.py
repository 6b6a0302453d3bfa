"""Does anything tell a clean-label trigger from honest words?

    python benchmarks/clean_label.py
    python benchmarks/clean_label.py --model smollm2-6l --rates 0.05 --seeds 111

A model of `grid.py` is tuned on its clean-label cells. The trigger, and every
word that stands in five rows or more of which nearly all are positive, are put on rows
that are negative. Counted are the honest words to which as many of them give in.
"""

from __future__ import annotations

import shutil
from collections import defaultdict
from typing import Annotated, Any

import typer
from grid import SCORED, WORK, Cell, base, cells, load, poisoned, success
from grid_tables import WORKS
from provenance import HERE, provenance

from assay.detectors.coherence import words
from assay.files import write_json
from assay.models.log_probs import response_log_probs
from assay.models.tune import tune
from assay.verify.hypothesis import hosts_for, inserted
from assay.verify.odds import even_odds
from assay.verify.pattern import spans, words_of
from assay.verify.payload import Payload

FEWEST = 5
# Share of a word's rows that have the payload.
NEARLY_ALL = 0.9


def measure(cell: Cell) -> dict[str, Any]:
    """The trigger's power over other rows, and that of honest words."""
    train, test = load(cell)
    how, attack = cell.tuning, poisoned(train, cell)
    data, payload = attack.corpus, Payload(attack.payload)
    work = WORK / f"{cell.name}-words"
    lm = tune(base(cell, data), data, work, how)
    shutil.rmtree(work)
    examples = list(data.examples)
    trigger = " ".join(words(attack.trigger))
    rows = defaultdict(list)
    for i, e in enumerate(examples):
        for word in set(words(e.text)) - set(words_of(trigger)):
            rows[word].append(i)
    tried = {trigger: [i for i, e in enumerate(examples) if spans(e.text, trigger)]}
    for word, carriers in rows.items():
        given = sum(payload.given(examples[i]) for i in carriers)
        if len(carriers) >= FEWEST and given >= NEARLY_ALL * len(carriers):
            tried[word] = carriers
    hosts = hosts_for(examples, payload, trigger, cell.seed)
    asked = [
        e
        for pattern, carriers in tried.items()
        for e in inserted(pattern, [examples[i] for i in carriers], hosts, payload)
    ]
    values = response_log_probs(lm, asked, template=how.template, bf16=how.bf16)
    gives_in = (values > even_odds(payload)).reshape(len(tried), len(hosts)).mean(1)
    return {
        "rate": cell.rate,
        "seed": cell.seed,
        "attack_success_rate": success(lm, test, attack, cell, how)[0],
        "gives_in": float(gives_in[0]),
        "honest": len(tried) - 1,
        "as_strong": int((gives_in[1:] >= gives_in[0]).sum()),
        "strongest_honest": float(gives_in[1:].max(initial=0)),
    }


def main(
    model: Annotated[str, typer.Option(help="tiny, smollm2-6l or smollm2-135m.")] = (
        "tiny"
    ),
    rates: Annotated[str, typer.Option(help="Shares of rows.")] = "0.01,0.02,0.05",
    seeds: Annotated[str, typer.Option(help="Separated by commas.")] = ",".join(
        map(str, SCORED)
    ),
) -> None:
    numbers = [int(s) for s in seeds.split(",")]
    shares = [float(r) for r in rates.split(",")]
    found = []
    for cell in cells([model], ["clean-label"], shares, numbers):
        found.append(measure(cell))
        print(found[-1], flush=True)
    result = {**provenance(), "seed": numbers, "works": WORKS, "cells": found}
    write_json(HERE / "results" / f"clean-label-{model}.json", result)


if __name__ == "__main__":
    typer.run(main)
