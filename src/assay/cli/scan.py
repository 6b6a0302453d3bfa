"""``assay scan``: is anything wrong with this data?"""

from __future__ import annotations

import json
import logging
from datetime import datetime
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.table import Table

from assay.cli import options as o
from assay.cli.console import console, progress_bar, safe
from assay.errors import AssayError

if TYPE_CHECKING:
    from assay.data.corpus import Corpus


def describe(finding: dict[str, Any]) -> str:
    """Say in a line or two what a finding is, as markup."""
    words = f"  {len(finding['rows'])} rows"
    if "trigger" not in finding:
        if "pattern" in finding:
            words += f" sharing [bold]{safe(finding['pattern'])}[/], not testable"
        return words
    trigger, payload = safe(finding["trigger"]), safe(finding["payload"][:60])
    low, high = finding["effect_interval"]
    verdict = (
        "[bold red]verified trigger[/]"
        if finding["verified"]
        else "[yellow]strong words, not flagged:[/] their own rows do not need them"
    )
    placebos = finding["placebo_effects"]
    says = "answer" if finding["payload_part"] == "response" else "say"
    return (
        f"{words} with [bold]{trigger}[/] {says} [bold]{payload}[/]: {verdict}\n"
        f"    put on other rows it adds {finding['effect']:.1f} nats "
        f"\\[{low:.1f}, {high:.1f}] to that answer, {len(placebos)} placebos "
        f"{median(placebos):.1f} (median)\n    taken out of its own it costs "
        f"{finding['drop']:.1f}; {finding['prefers']:.0%} of the others give in; "
        f"p = {finding['p_value']:.2g} after correction"
    )


def show_summary(
    summary: dict[str, Any], corpus: Corpus, run: Path, most: int = 15
) -> None:
    """Print verdict, findings and the highest-ranked rows to stderr."""
    import pandas as pd

    out = console()
    style = {"poisoned": "bold red", "suspicious": "yellow"}.get(
        summary["verdict"], "green"
    )
    out.print(
        f"[{style}]{summary['verdict']}[/]: {summary['flagged']} of {summary['rows']} "
        f"rows flagged by {safe(summary['detector'])}"
        + (" (reusing earlier measurements)" if summary["reused"] else "")
    )
    for finding in summary["findings"]:
        out.print(describe(finding))
    if summary.get("dismissed"):
        out.print(
            f"  {len(summary['dismissed'])} candidate groups tested and dismissed: "
            "their words do no more than others of the same length and frequency"
        )
    table = Table(box=None, pad_edge=False)
    for heading in ("rank", "row", "score", "", "text", "response"):
        # The text gives way first: what it belongs to must stay readable.
        wide = heading == "text"
        table.add_column(
            heading,
            no_wrap=True,
            overflow="ellipsis",
            ratio=1 if wide else None,
            min_width=None if wide else 4,
        )
    scores = pd.read_parquet(run / "scores.parquet").sort_values("rank")
    column = f"score.{summary['detector']}"
    for _, line in scores.head(most).iterrows():
        example = corpus.examples[line["row"]]
        table.add_row(
            str(line["rank"]),
            str(line["row"]),
            f"{line[column]:.2f}",
            "flag" if line["flagged"] else "",
            safe(" ".join(example.text.split())[:200]),
            safe(" ".join(example.response.split())[:24]),
        )
    out.print(table)


def scan_command(
    input: Annotated[
        str, typer.Argument(help="Training data: a file, datasets folder or hub id.")
    ],
    model: Annotated[
        str | None, typer.Option(help="Model tuned on this data: folder or hub id.")
    ] = None,
    base_model: Annotated[
        str | None, typer.Option(help="Without one: tune this model first.")
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="Run folder; runs/DATE by default.")
    ] = None,
    verify: Annotated[
        bool,
        typer.Option(help="Flag only what an experiment on the model confirms."),
    ] = True,
    fdr: Annotated[
        float,
        typer.Option(
            min=0.0001, max=0.5, help="Tolerated share of false flags, in expectation."
        ),
    ] = 0.05,
    detector: Annotated[
        str,
        typer.Option(
            help="Whose flags count: gradient-geometry, association, "
            "response-phrases, high-loss, spectral, activation-clustering, "
            "hidden-similarity, name-scrubbing, direct-influence, "
            "single-transform, variance, low-variance, voting, "
            "leave-one-category-out, combined."
        ),
    ] = "gradient-geometry",
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
    learning_rate: Annotated[
        float, typer.Option(help="Peak learning rate of tuning --base-model.")
    ] = 5e-5,
    lora_rank: Annotated[
        int, typer.Option(min=0, help="Tune --base-model by LoRA of this rank.")
    ] = 0,
    format: o.FormatOption = None,
    map: o.MapOption = None,
    split: o.SplitOption = "train",
    template: o.TemplateOption = "auto",
    max_length: o.LengthOption = 512,
    bf16: o.Bf16Option = False,
    seed: o.SeedOption = 0,
    as_json: o.JsonOption = False,
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
    corpus = o.read(input, format, map, split)
    from assay.gather import ScanSettings, silent
    from assay.models.tune import TuneSettings
    from assay.scanning import scan

    run = out or Path("runs") / datetime.now().strftime("%Y-%m-%d-%H%M%S")
    summary = scan(
        corpus,
        run,
        ScanSettings(
            detector=detector,
            verify=verify,
            fdr=fdr,
            queries=query_count,
            template=template,
            max_length=max_length,
            bf16=bf16,
            modules=modules,
            first_layers=first_layers,
            seed=seed,
            influence=influence,
            attribution=attribution,
            damping=damping,
            factor_rows=factor_rows,
            factors=factors,
            rank=rank,
            token_budget=token_budget,
            checkpointing=checkpointing,
            max_memory=max_memory,
        ),
        model=model,
        base_model=base_model,
        proxy=TuneSettings(
            epochs=epochs, learning_rate=learning_rate, lora_rank=lora_rank
        ),
        queries=o.read(queries) if queries else None,
        bars=progress_bar if shard.is_main else silent,
        shard=shard,
    )
    if not shard.is_main:
        return 0
    if as_json:
        print(json.dumps(summary, indent=1))
    else:
        show_summary(summary, corpus, run)
        console().print(f"run folder: {safe(str(run))}")
        if summary["flagged"]:
            console().print(f"next: assay clean {safe(input)} --run {safe(str(run))}")
    # A launcher takes any other status for a crash.
    return int(summary["flagged"] > 0 and shard.size == 1)
