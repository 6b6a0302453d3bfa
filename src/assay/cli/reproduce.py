"""``assay reproduce``: the paper's tables and figures, measured again."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Annotated

import typer

from assay.cli import options as o
from assay.cli.console import console, progress_bar, safe
from assay.cli.demo import SST2

log = logging.getLogger("assay")


def reproduce_command(
    items: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[ITEM]...",
            help="Tables, figures and sections, as --list names them; all by default.",
        ),
    ] = None,
    scale: Annotated[
        str,
        typer.Option(
            help="cpu: a small T5 trained from scratch; paper: the paper's model, "
            "from the hub."
        ),
    ] = "cpu",
    out: Annotated[Path, typer.Option(help="Folder for results and work.")] = Path(
        "reproduced"
    ),
    sst2: Annotated[
        Path | None,
        typer.Option(
            help="Folder of SST-2 (train.tsv, dev.tsv); without one, reviews are "
            "generated."
        ),
    ] = None,
    list_: Annotated[
        bool, typer.Option("--list", help="List what there is, and end.")
    ] = False,
    overwrite: Annotated[
        bool, o.overwriting("another study, or other files, in --out")
    ] = False,
    seed: o.SeedOption = 0,
    quiet: o.QuietOption = False,
) -> None:
    """Measure the paper's tables and figures, and put ours beside the printed ones.

    A study is poisoned, tuned and scanned once, whichever items are asked for; the
    same command goes on from what is finished.
    """
    from assay.bench.reproduce.items import ITEMS, chosen
    from assay.errors import AssayError

    if list_:
        for item in ITEMS:
            note = "" if item.built else " (not yet)"
            print(f"{item.name:12} {item.paper}: {item.title}{note}")
        return
    wanted = chosen(items or ())

    from assay.bench.reproduce.run import reproduce
    from assay.bench.reproduce.study import SST2 as STUDY
    from assay.bench.reproduce.study import Scale, Setup

    if scale not in list(Scale):
        raise AssayError(f"--scale {scale}: expected one of {', '.join(Scale)}")
    if sst2 is None and SST2.is_dir():
        sst2 = SST2
    if sst2 is None:
        log.warning(
            "no %s: the rows are generated reviews; --sst2 names a folder of SST-2",
            SST2,
        )
    elif not sst2.is_dir():
        raise AssayError(f"--sst2 {sst2}: no such folder")
    setup = Setup(STUDY, Scale(scale), sst2, seed, out / "work")
    page = reproduce(wanted, setup, out, progress_bar, overwrite=overwrite)
    console().print(f"ours beside the paper's: {safe(str(page))}")
