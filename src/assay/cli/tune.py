"""``assay tune``: fine-tune a model on a data set."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from assay.cli import options as o
from assay.cli.config import ConfigOption
from assay.cli.console import console, progress_bar, safe
from assay.cli.generated import Fields, with_settings
from assay.models.tune_settings import TuneSettings


@with_settings
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
    settings: Annotated[TuneSettings, Fields()] = TuneSettings(),
    reading: o.ReadingOptions = o.Reading(),
    quiet: o.QuietOption = False,
    config: ConfigOption = None,
) -> None:
    """Tune a model; the same command goes on after an interruption."""
    corpus = o.read(input, reading)
    from assay.models.load import load_model
    from assay.models.tune import noted_as, tune
    from assay.models.tune_folder import check_folder

    # Before the model is loaded, which takes its time.
    about = noted_as(base_model, corpus, settings)
    check_folder(out, about, [input, base_model], overwrite=overwrite)
    lm = load_model(base_model)
    with progress_bar("tuning") as advance:
        tune(lm, corpus, out, settings, overwrite=overwrite, progress=advance)
    console().print(f"tuned model: {safe(str(out))}")
