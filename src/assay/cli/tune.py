"""``assay tune``: fine-tune a model on a data set."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from assay.cli import options as o
from assay.cli.config import ConfigOption
from assay.cli.console import console, progress_bar, safe


def tune_command(
    input: Annotated[str, typer.Argument(help="Training data.")],
    base_model: Annotated[
        str,
        typer.Option(
            help="Model to tune: folder, GGUF, hf://owner/name, smollm2-135m."
        ),
    ],
    out: Annotated[Path, typer.Option(help="Folder of the tuned model.")],
    overwrite: Annotated[
        bool, o.overwriting("another model, or another run's checkpoint, in --out")
    ] = False,
    epochs: Annotated[int, o.number("epochs", "--epochs", "Passes over the data.")] = 4,
    learning_rate: Annotated[
        float, o.number("learning_rate", "--learning-rate", "Peak learning rate.")
    ] = 5e-5,
    batch_size: Annotated[
        int, o.number("batch_size", "--batch-size", "Rows in a batch.")
    ] = 8,
    accumulation: Annotated[
        int,
        o.number("accumulation", "--accumulation", "Batches in an optimiser step."),
    ] = 1,
    warmup: Annotated[
        float, o.number("warmup", "--warmup", "Share of steps spent warming up.")
    ] = 0.05,
    schedule: Annotated[
        str, typer.Option(help="linear, cosine, constant, constant_with_warmup.")
    ] = "linear",
    optimizer: Annotated[str, typer.Option(help="adamw, lion, lion_8bit.")] = "adamw",
    weight_decay: Annotated[
        float, o.number("weight_decay", "--weight-decay", "Weight decay.")
    ] = 0.0,
    lora_rank: Annotated[
        int,
        o.number("lora_rank", "--lora-rank", "Train LoRA adapters; 0: all weights."),
    ] = 0,
    gradient_checkpointing: Annotated[
        bool, typer.Option(help="Trade time for memory.")
    ] = False,
    checkpoint_every: Annotated[
        int,
        o.number(
            "checkpoint_every",
            "--checkpoint-every",
            "Steps between checkpoints; 0: every epoch.",
        ),
    ] = 0,
    keep_checkpoints: Annotated[
        int,
        o.number(
            "keep_checkpoints",
            "--keep-checkpoints",
            "Newest checkpoints to keep, as model folders OUT/checkpoint-STEP.",
        ),
    ] = 0,
    validation: Annotated[
        float,
        o.number(
            "validation",
            "--validation",
            "Share of the rows held out; their loss is noted in OUT/training.jsonl.",
        ),
    ] = 0.0,
    evaluate_every: Annotated[
        int,
        o.number(
            "evaluate_every",
            "--evaluate-every",
            "Steps between validation losses; 0: every epoch.",
        ),
    ] = 0,
    format: o.FormatOption = None,
    map: o.MapOption = None,
    split: o.SplitOption = "train",
    skip_bad_rows: o.SkipBadOption = False,
    response_marker: o.MarkerOption = None,
    template: o.TemplateOption = "auto",
    max_length: o.LengthOption = 512,
    bf16: o.Bf16Option = False,
    seed: o.SeedOption = 0,
    quiet: o.QuietOption = False,
    config: ConfigOption = None,
) -> None:
    """Tune a model; the same command goes on after an interruption."""
    corpus = o.read(input, format, map, split, skip_bad_rows, response_marker)
    from assay.models.load import load_model
    from assay.models.tune import TuneSettings, noted_as, tune
    from assay.models.tune_folder import check_folder

    settings = TuneSettings(
        epochs=epochs,
        learning_rate=learning_rate,
        batch_size=batch_size,
        accumulation=accumulation,
        warmup=warmup,
        schedule=schedule,
        optimizer=optimizer,
        weight_decay=weight_decay,
        lora_rank=lora_rank,
        template=template,
        max_length=max_length,
        bf16=bf16,
        gradient_checkpointing=gradient_checkpointing,
        checkpoint_every=checkpoint_every,
        keep_checkpoints=keep_checkpoints,
        validation=validation,
        evaluate_every=evaluate_every,
        seed=seed,
    )
    # Before the model is loaded, which takes its time.
    about = noted_as(base_model, corpus, settings)
    check_folder(out, about, [input, base_model], overwrite=overwrite)
    lm = load_model(base_model)
    with progress_bar("tuning") as advance:
        tune(lm, corpus, out, settings, overwrite=overwrite, progress=advance)
    console().print(f"tuned model: {safe(str(out))}")
