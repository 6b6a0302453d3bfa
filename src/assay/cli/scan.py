"""``assay scan``: is anything wrong with this data?"""

from __future__ import annotations

import json
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.table import Table

from assay.cli import options as o
from assay.cli.console import console, progress_bar, safe

if TYPE_CHECKING:
    from assay.data.corpus import Corpus


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
        words = f"  {len(finding['rows'])} rows"
        if "response" in finding:
            words += f" answering [bold]{safe(finding['response'][:60])}[/]"
        if "pattern" in finding:
            words += (
                f", sharing [bold]{safe(finding['pattern'])}[/] "
                f"(p = {finding['pattern_p_value']:.1g})"
            )
        out.print(words)
    table = Table(box=None, pad_edge=False)
    for heading in ("rank", "row", "score", "", "text", "response"):
        table.add_column(heading, no_wrap=True, overflow="ellipsis")
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
    detector: Annotated[
        str,
        typer.Option(
            help="Whose flags count: gradient-geometry, high-loss, spectral, "
            "activation-clustering, name-scrubbing, direct-influence, "
            "single-transform, variance, low-variance, voting, "
            "leave-one-category-out, combined."
        ),
    ] = "gradient-geometry",
    queries: Annotated[
        str | None,
        typer.Option(
            help="Test inputs for the influence detectors, in any of the formats; "
            "by default training rows are drawn."
        ),
    ] = None,
    query_count: Annotated[
        int, typer.Option(min=1, help="Test inputs to draw from them.")
    ] = 32,
    modules: Annotated[
        str | None, typer.Option(help="Regular expression of the layers to track.")
    ] = None,
    first_layers: Annotated[
        int | None, typer.Option(min=1, help="Track the first K blocks only.")
    ] = None,
    epochs: Annotated[
        int, typer.Option(min=1, help="Epochs of tuning --base-model.")
    ] = 4,
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
    """Scan training data for poison. Exit status 1 when something is found."""
    corpus = o.read(input, format, map, split)
    from assay.gather import ScanSettings
    from assay.models.tune import TuneSettings
    from assay.scan import scan

    run = out or Path("runs") / datetime.now().strftime("%Y-%m-%d-%H%M%S")
    summary = scan(
        corpus,
        run,
        ScanSettings(
            detector=detector,
            queries=query_count,
            template=template,
            max_length=max_length,
            bf16=bf16,
            modules=modules,
            first_layers=first_layers,
            seed=seed,
        ),
        model=model,
        base_model=base_model,
        proxy=TuneSettings(
            epochs=epochs, learning_rate=learning_rate, lora_rank=lora_rank
        ),
        queries=o.read(queries) if queries else None,
        bars=progress_bar,
    )
    if as_json:
        print(json.dumps(summary, indent=1))
    else:
        show_summary(summary, corpus, run)
        console().print(f"run folder: {safe(str(run))}")
        if summary["flagged"]:
            console().print(f"next: assay clean {safe(input)} --run {safe(str(run))}")
    return int(summary["verdict"] != "clean")
