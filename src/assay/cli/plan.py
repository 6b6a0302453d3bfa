"""``assay plan``: what will a scan cost?"""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from assay.cli import options as o
from assay.cli.config import ConfigOption
from assay.cli.console import console
from assay.cli.generated import with_settings
from assay.models.tune_settings import TuneSettings
from assay.settings import ScanSettings


@with_settings
def plan_command(
    ctx: typer.Context,
    input: o.TrainingArgument,
    model: o.ModelOption = None,
    base_model: o.BaseModelOption = None,
    out: Annotated[
        Path, typer.Option(help="Where the run folder is going to be.")
    ] = Path("runs"),
    queries: o.QueriesOption = None,
    settings: o.Settings = ScanSettings(),
    proxy: o.Proxy = TuneSettings(),
    reading: o.ReadingOptions = o.Reading(),
    as_json: o.JsonOption = False,
    quiet: o.QuietOption = False,
    config: ConfigOption = None,
) -> int:
    """Say what a scan would cost. Exit status 2 when it would not fit.

    Takes the options of assay scan. Loads the model, times one batch and one
    eigendecomposition, and writes nothing.
    """
    corpus = o.read(input, reading)
    from assay.models.bases import check_base
    from assay.models.load import load_model
    from assay.scanning.inputs import plan_scan, prepare
    from assay.scanning.job import job_of

    job = job_of(
        corpus,
        settings,
        model,
        base_model,
        proxy,
        o.read(queries) if queries else None,
    )
    if job.base_model is not None and not job.is_proxy:
        check_base(job.model, job.base_model)
    lm = load_model(str(job.model))
    work = prepare(lm, job)
    plan = plan_scan(lm, work, job, out, tuned=False)
    problems = plan.problems()
    if as_json:
        print(json.dumps({**asdict(plan), "problems": problems}, indent=1))
    else:
        for line in plan.lines():
            console().print(line, soft_wrap=True, markup=False)
    plan.check()
    if not as_json:
        console().print("it fits")
    return 0
