"""``assay report``: write a run's report again."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from assay.cli import options as o
from assay.cli.console import console, safe


def report_command(
    run: Annotated[Path, typer.Argument(help="Run folder of a scan.")],
    out: Annotated[
        Path | None,
        typer.Option(help="File to write; report.html in the run by default."),
    ] = None,
    overwrite: Annotated[
        bool, o.overwriting("the file of --out if it is there")
    ] = False,
) -> None:
    """Write a scan's report as one HTML file that opens offline.

    It is made from the run folder alone; a scan has written one already. Where the
    folder has an evaluation.json (from assay evaluate --json), models are compared.
    """
    from assay.report.build import write_report

    path = write_report(run, out, overwrite=overwrite)
    console().print(f"report: {safe(str(path))}")
