"""``assay pool``: draw rows from many task files."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from assay.cli import options as o
from assay.cli.config import ConfigOption
from assay.cli.console import console, safe
from assay.errors import AssayError


def pool_command(
    folder: Annotated[
        Path,
        typer.Argument(help="Folder of SuperNaturalInstructions task files."),
    ],
    out: Annotated[Path, typer.Option(help="File of the pool, JSON lines.")],
    rows: Annotated[int, o.number("rows", "--rows", "Rows of each task.")] = 5000,
    tasks: Annotated[
        int | None,
        o.number("tasks", "--tasks", "Tasks to draw; all by default."),
    ] = None,
    task: Annotated[
        list[str] | None,
        typer.Option(help="Task to take, instead of drawing; repeat for several."),
    ] = None,
    overwrite: Annotated[bool, o.overwriting("--out if it is there")] = False,
    seed: o.SeedOption = 0,
    quiet: o.QuietOption = False,
    config: ConfigOption = None,
) -> None:
    """Draw rows of many tasks into one file, in which each row names its task.

    The paper's pool is --tasks 10 --rows 5000.
    """
    from assay.data.pool import draw_pool, task_files, write_pool
    from assay.util.files import check_outputs

    if task and tasks is not None:
        raise AssayError("--task and --tasks are two ways to choose: give one")
    check_outputs([out], [folder, *task_files(folder)], overwrite=overwrite)
    pool = draw_pool(folder, rows=rows, tasks=tasks, names=task or (), seed=seed)
    write_pool(pool, out)
    for name, count in pool.drawn.items():
        console().print(f"{count} rows of {safe(name)}")
    console().print(
        f"{len(pool.records)} rows of {len(pool.drawn)} tasks: {safe(str(out))}"
    )
