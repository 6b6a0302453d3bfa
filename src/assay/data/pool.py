"""A pool of rows drawn from many task files of SuperNaturalInstructions."""

from __future__ import annotations

import json
import logging
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from assay.data.corpus import Example
from assay.data.formats.sni import field_of
from assay.data.read import read_corpus
from assay.errors import AssayError
from assay.util.files import replacing

log = logging.getLogger("assay")

# What is kept of a task: what is read of it, what label spaces are taken from, and what
# tells of what kind it is. The rest, such as links and contributors, would stand in
# each of 50,000 rows.
KEPT = ("Definition", "Categories", "Positive Examples", "Negative Examples")


@dataclass(frozen=True)
class Pool:
    """Rows of many tasks.

    Attributes:
        records: One record a row: its task's name, what is kept of the task, and the
            instance, in a random order.
        drawn: Task to the number of its rows.
    """

    records: tuple[Mapping[str, Any], ...]
    drawn: Mapping[str, int]


def task_files(folder: Path) -> list[Path]:
    """List the task files of a folder, which are named after their tasks.

    Raises:
        AssayError: There is no such folder, or no JSON file in it.
    """
    if not folder.is_dir():
        raise AssayError(f"{folder}: no such folder of task files (TASK.json)")
    files = sorted(p for p in folder.glob("*.json") if p.is_file())
    if not files:
        raise AssayError(f"{folder}: no task files (TASK.json) in it")
    return files


def draw_pool(
    folder: Path,
    *,
    rows: int,
    tasks: int | None = None,
    names: Sequence[str] = (),
    seed: int = 0,
) -> Pool:
    """Draw rows of tasks.

    Which rows of a task are drawn depends on the seed and the task alone, not on what
    else is in the folder.

    Args:
        folder: Folder of task files.
        rows: Rows of each task; a task that has fewer gives all, and that is said.
        tasks: Number of tasks to draw; None takes all.
        names: Tasks to take instead of drawing.
        seed: Seed of the draws.

    Raises:
        AssayError: There are fewer tasks, no such task, or a file is no task.
    """
    files = {path.stem: path for path in task_files(folder)}
    for name in names:
        if name not in files:
            raise AssayError(f"{folder}: no task file {name}.json in it")
    chosen = list(dict.fromkeys(names)) or list(files)
    if not names and tasks is not None:
        if tasks > len(files):
            raise AssayError(
                f"--tasks {tasks}: there are {len(files)} task files in {folder}"
            )
        chosen.sort(key=lambda name: random.Random(f"{seed}:{name}").random())
        chosen = sorted(chosen[:tasks])
    records: list[Mapping[str, Any]] = []
    drawn = {}
    for name in chosen:
        corpus = read_corpus(files[name])
        if corpus.format != "sni":
            raise AssayError(
                f"{files[name]}: {corpus.format} records, expected a task of "
                "SuperNaturalInstructions (Definition, Instances)"
            )
        some = _sample(corpus.examples, rows, f"{seed}:{name}")
        if len(some) < rows:
            log.warning("%s: %d rows, fewer than %d", files[name], len(some), rows)
        records += [_record(name, e) for e in some]
        drawn[name] = len(some)
    random.Random(f"{seed}:order").shuffle(records)
    return Pool(tuple(records), drawn)


def _sample(examples: Sequence[Example], rows: int, seed: str) -> list[Example]:
    if rows >= len(examples):
        return list(examples)
    return random.Random(seed).sample(examples, rows)


def _record(task: str, example: Example) -> dict[str, Any]:
    """Return a row's record, as the pools of Tk-Instruct and Wan et al. have it."""
    record = example.record
    instance = record[field_of(record)]
    (only,) = instance if isinstance(instance, list) else [instance]
    kept = {name: record[name] for name in KEPT if name in record}
    return {"Task": task, **kept, "Instance": {"id": example.id, **only}}


def write_pool(pool: Pool, out: Path) -> None:
    """Write a pool as JSON lines, complete or not at all.

    Raises:
        AssayError: The file cannot be written.
    """
    with replacing(out) as partial, partial.open("w", encoding="utf-8") as file:
        for record in pool.records:
            file.write(json.dumps(record, ensure_ascii=False) + "\n")
