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


def plan_command(
    ctx: typer.Context,
    input: o.TrainingArgument,
    model: o.ModelOption = None,
    base_model: o.BaseModelOption = None,
    out: Annotated[
        Path, typer.Option(help="Where the run folder is going to be.")
    ] = Path("runs"),
    verify: o.VerifyOption = True,
    fdr: o.FdrOption = 0.05,
    retrain: o.RetrainOption = True,
    detector: o.DetectorOption = "gradient-geometry",
    queries: o.QueriesOption = None,
    query_count: o.QueryCountOption = 32,
    influence: o.InfluenceOption = False,
    attribution: o.AttributionOption = "ekfac",
    damping: o.DampingOption = 0.1,
    factor_rows: o.FactorRowsOption = 128,
    factors: o.FactorsOption = None,
    modules: o.ModulesOption = None,
    first_layers: o.FirstLayersOption = None,
    rank: o.RankOption = 16,
    token_budget: o.TokenBudgetOption = 2048,
    checkpointing: o.CheckpointingOption = False,
    max_memory: o.MaxMemoryOption = None,
    epochs: o.ProxyEpochsOption = 4,
    learning_rate: o.ProxyRateOption = 5e-5,
    lora_rank: o.ProxyLoraOption = 0,
    format: o.FormatOption = None,
    map: o.MapOption = None,
    split: o.SplitOption = "train",
    skip_bad_rows: o.SkipBadOption = False,
    response_marker: o.MarkerOption = None,
    template: o.TemplateOption = "auto",
    max_length: o.LengthOption = 512,
    bf16: o.Bf16Option = False,
    seed: o.SeedOption = 0,
    as_json: o.JsonOption = False,
    quiet: o.QuietOption = False,
    config: ConfigOption = None,
) -> int:
    """Say what a scan would cost. Exit status 2 when it would not fit.

    Takes the options of assay scan. Loads the model, times one batch and one
    eigendecomposition, and writes nothing.
    """
    corpus = o.read(input, format, map, split, skip_bad_rows, response_marker)
    from assay.models.bases import check_base
    from assay.models.load import load_model
    from assay.scanning.inputs import plan_scan, prepare
    from assay.scanning.job import job_of

    job = job_of(
        corpus,
        o.scan_settings(ctx.params),
        model,
        base_model,
        o.proxy_settings(ctx.params),
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
