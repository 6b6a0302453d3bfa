"""``assay clean``: split a data set by a run's flags."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from assay.cli import options as o
from assay.cli.config import ConfigOption
from assay.cli.console import console, safe
from assay.cli.generated import with_settings


@with_settings
def clean_command(
    input: Annotated[str, typer.Argument(help="The data that was scanned.")],
    run: Annotated[Path, typer.Option(help="Run folder of the scan.")],
    out: Annotated[
        Path | None, typer.Option(help="Folder to write into; the run by default.")
    ] = None,
    overwrite: Annotated[
        bool, o.overwriting("the clean and removed rows that are there already")
    ] = False,
    decisions: Annotated[
        Path | None,
        typer.Option(
            help="What was decided in assay review; counts more than the flags."
        ),
    ] = None,
    unsure: Annotated[
        str,
        typer.Option(
            help="Rows decided as unsure: flag (removed when flagged), keep or remove."
        ),
    ] = "flag",
    reading: o.ReadingOptions = o.Reading(),
    quiet: o.QuietOption = False,
    config: ConfigOption = None,
) -> None:
    """Write the clean and the removed rows in the input's own format."""
    corpus = o.read(input, reading)
    from assay.data.write import write_corpus
    from assay.runs.cleaning import clean
    from assay.util.files import check_outputs

    folder = out or run
    paths = [folder / f"{name}{corpus.suffix}" for name in ("clean", "removed")]
    check_outputs(paths, [input, decisions], overwrite=overwrite, folder=folder)
    parts = clean(corpus, run, decisions, unsure)
    for path, part in zip(paths, parts, strict=True):
        write_corpus(part, path)
        more = f", and {n} kept as they are" if (n := len(part.left_out)) else ""
        console().print(f"{len(part)} rows{more}: {safe(str(path))}")
