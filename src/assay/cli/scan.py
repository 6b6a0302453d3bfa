"""``assay scan``: is anything wrong with this data?"""

from __future__ import annotations

import json
import logging
from contextlib import nullcontext
from pathlib import Path
from shlex import quote
from typing import TYPE_CHECKING, Annotated

import typer

from assay.cli import options as o
from assay.cli.config import ConfigOption, save_options
from assay.cli.console import console, progress_bar, safe
from assay.cli.generated import with_settings
from assay.cli.summary import show_summary
from assay.errors import AssayError
from assay.models.tune_settings import TuneSettings
from assay.settings import ScanSettings

if TYPE_CHECKING:
    pass


@with_settings
def scan_command(
    ctx: typer.Context,
    input: o.TrainingArgument,
    model: o.ModelOption = None,
    base_model: o.BaseModelOption = None,
    out: Annotated[
        Path | None, typer.Option(help="Run folder; runs/DATE by default.")
    ] = None,
    overwrite: Annotated[
        bool, o.overwriting("a run of other data or settings in --out")
    ] = False,
    queries: o.QueriesOption = None,
    settings: o.Settings = ScanSettings(),
    proxy: o.Proxy = TuneSettings(),
    reading: o.ReadingOptions = o.Reading(),
    as_json: o.JsonOption = False,
    quiet: o.QuietOption = False,
    config: ConfigOption = None,
) -> int:
    """Scan training data for poison. Exit status 1 when rows are flagged.

    Under accelerate launch or torchrun the rows are split over the processes; give
    --out, and read the verdict in its summary.json: the exit status is then 0.
    """
    from assay.influence.sharding import this_shard

    shard = this_shard()
    if shard.size > 1 and out is None:
        raise AssayError("several processes need one run folder: give --out")
    if not shard.is_main:
        # One voice is enough; errors are told by each.
        logging.getLogger("assay").setLevel(logging.ERROR)
    corpus = o.read(input, reading)
    from assay.runs.folder import new_run
    from assay.scanning.pipeline import scan
    from assay.settings import silent

    inputs = o.read(queries) if queries else None
    with nullcontext(out) if out is not None else new_run() as run:
        summary = scan(
            corpus,
            run,
            settings,
            model=model,
            base_model=base_model,
            proxy=proxy,
            queries=inputs,
            bars=progress_bar if shard.is_main else silent,
            shard=shard,
            overwrite=overwrite,
        )
    if not shard.is_main:
        return 0
    save_options(ctx, run, {"out": run})
    if as_json:
        print(json.dumps(summary, indent=1))
    else:
        show_summary(summary, corpus, run)
        console().print(f"run folder: {safe(str(run))}")
        if summary["flagged"]:
            place = safe(quote(str(run)))
            # Not broken into lines, so that it can be copied.
            console().print(
                f"next: assay clean {safe(quote(input))} --run {place}\n"
                f"or look at the rows first: assay review {place}",
                soft_wrap=True,
            )
    # A launcher takes any other status for a crash.
    return int(summary["flagged"] > 0 and shard.size == 1)
