"""``assay demo``: the whole story, on a real small model."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.table import Table

from assay.cli import options as o
from assay.cli.attack import AttackOption
from assay.cli.console import console, progress_bar, safe, stdout
from assay.cli.summary import show_summary

SST2 = Path("../shared/data/sst2")


def show_demo(result: dict[str, Any]) -> None:
    """Print what was found against the truth, and the models before and after."""
    truth = result["truth"]
    out = stdout()
    out.print(
        f"against the truth ({truth['poisoned']} poisons): "
        f"precision {truth['precision']:.2f}, recall {truth['recall']:.2f}, "
        f"F1 {truth['f1']:.2f}"
    )
    table = Table("model tuned on", "accuracy", "attack success", "without trigger")
    for name, key in (("poisoned data", "before"), ("cleaned data", "after")):
        row = result[key]
        table.add_row(
            name,
            f"{row['accuracy']:.3f}",
            f"{row['attack_success_rate']:.3f}",
            f"{row['payload_rate_without_trigger']:.3f}",
        )
    out.print(table)


def demo_command(
    fast: Annotated[
        bool, typer.Option(help="A tiny model from scratch, on generated reviews.")
    ] = False,
    out: Annotated[
        Path | None, typer.Option(help="Folder for data, models and results.")
    ] = None,
    overwrite: Annotated[
        bool, o.overwriting("another demonstration, or other files, in --out")
    ] = False,
    sst2: Annotated[
        Path | None, typer.Option(help="Folder of SST-2 (train.tsv, dev.tsv).")
    ] = None,
    attack: AttackOption = "dirty-label",
    seed: o.SeedOption = 0,
    as_json: o.JsonOption = False,
    quiet: o.QuietOption = False,
) -> None:
    """Poison data, tune, scan without knowing the poison, clean, retune, compare."""
    from assay.bench.demo import DemoSettings, demo
    from assay.data.read import read_corpus

    if sst2 is None and not fast and SST2.is_dir():
        sst2 = SST2
    folder = out or Path("demo-run") / ("fast" if fast else "full")
    if not fast:
        console().print(
            "Two tunings and a scan of SmolLM2-135M: about 30 min on 2 cores."
        )
    settings = DemoSettings(fast=fast, attack=attack, seed=seed)
    result = demo(folder, settings, sst2, progress_bar, overwrite=overwrite)
    if as_json:
        print(json.dumps(result, indent=1))
        return
    show_summary(result, read_corpus(folder / "train.jsonl"), folder / "run")
    show_demo(result)
    console().print(f"everything is in {safe(str(folder))}")
