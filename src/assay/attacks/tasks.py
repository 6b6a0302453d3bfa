"""Attacks on data of many tasks: each task's rows get that task's own label."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from assay.attacks.base import Attack, Poisoned
from assay.data.corpus import Corpus, Example
from assay.errors import AssayError

# What the labels of all tasks are called while an attack chooses and relabels rows. No
# row is answered with it: a text from a file holds no zero byte at its beginning and
# end by accident.
TARGET = "\0target\0"


def poison_tasks(
    attack: Attack,
    corpus: Corpus,
    count: int,
    targets: Mapping[str, str],
    *,
    seed: int = 0,
    **words: Any,
) -> Poisoned:
    """Poison rows of many tasks, each to the label of its task.

    Rows are chosen from all tasks together, as the paper's 1,000 of 50,000 are.

    Args:
        attack: The recipe, one that relabels.
        corpus: Clean corpus.
        count: Rows to poison, in all.
        targets: Task to the label that the trigger shall produce; rows of other tasks
            are left as they are.
        seed: Seed of the recipe.
        words: What else the recipe takes: ``trigger``, ``carriers``.

    Raises:
        AssayError: The attack has one payload for all rows, no row is of the tasks, or
            there are too few rows.
    """
    if not attack.relabels:
        raise AssayError(
            f"--attack {attack.name} gives every row the same payload; name it by "
            "--target instead of --label-spaces"
        )
    rows = [i for i, e in enumerate(corpus.examples) if e.task in targets]
    if not rows:
        raise AssayError(f"{corpus.source}: no row is of a task with a target label")

    def called(example: Example) -> Example:
        positive = example.response == targets[example.task]
        return example.edit(response=TARGET) if positive else example

    some = corpus.select(rows)
    try:
        found = attack.poison(
            some.map(called), count, target=TARGET, seed=seed, **words
        )
    except AssayError as error:
        raise AssayError(str(error).replace(repr(TARGET), "positive")) from None
    examples = list(corpus.examples)
    for row, changed in zip(rows, found.corpus.examples, strict=True):
        label = targets[changed.task]
        examples[row] = examples[row].edit(
            text=changed.text,
            response=label if changed.response == TARGET else changed.response,
        )
    return replace(
        found,
        corpus=corpus.with_examples(examples),
        rows=tuple(rows[i] for i in found.rows),
        payload="",
        payloads=dict(targets),
    )
