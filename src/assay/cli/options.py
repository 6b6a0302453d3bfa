"""Options that several commands share."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from assay.cli.console import set_quiet
from assay.errors import AssayError

if TYPE_CHECKING:
    from assay.data.corpus import Corpus
    from assay.models.tune import TuneSettings
    from assay.settings import ScanSettings

TrainingArgument = Annotated[
    str, typer.Argument(help="Training data: a file, datasets folder or hub id.")
]
ModelOption = Annotated[
    str | None,
    typer.Option(
        "--model",
        help="Model tuned on this data: folder, GGUF file or hf://owner/name.",
    ),
]
BaseModelOption = Annotated[
    str | None,
    typer.Option(
        "--base-model",
        help="Without --model: tune this one first. With it: what it was tuned from, "
        "to decide by retraining where other experiments do not.",
    ),
]
RetrainOption = Annotated[
    bool,
    typer.Option(
        "--retrain/--no-retrain",
        help="Tune --base-model once more, without the rows in doubt, if need be.",
    ),
]
VerifyOption = Annotated[
    bool,
    typer.Option(
        "--verify/--no-verify",
        help="Flag only what an experiment on the model confirms.",
    ),
]
FdrOption = Annotated[
    float,
    typer.Option(
        "--fdr",
        min=0.0001,
        max=0.5,
        help="Tolerated share of false flags, in expectation.",
    ),
]
DetectorOption = Annotated[
    str,
    typer.Option(
        "--detector",
        help="Whose flags count: gradient-geometry, association, "
        "response-phrases, high-loss, spectral, activation-clustering, "
        "hidden-similarity, name-scrubbing, direct-influence, "
        "single-transform, variance, low-variance, voting, "
        "leave-one-category-out, combined.",
    ),
]

FormatOption = Annotated[
    str | None,
    typer.Option(
        "--format",
        help="Record format: alpaca, messages, sharegpt, prompt-completion, sni or "
        "columns. Detected by default.",
    ),
]
MapOption = Annotated[
    list[str] | None,
    typer.Option(
        "--map",
        help="For the columns format: text=COLUMN, response=COLUMN, and optionally "
        "instruction=COLUMN, task=COLUMN.",
    ),
]
SplitOption = Annotated[
    str, typer.Option("--split", help="Split of a datasets folder or hub id.")
]
TemplateOption = Annotated[
    str,
    typer.Option(
        "--template", help="Prompt template: auto, chat, plain, alpaca, tk-instruct."
    ),
]
LengthOption = Annotated[
    int, typer.Option("--max-length", min=2, help="Longest example in tokens.")
]
Bf16Option = Annotated[
    bool, typer.Option("--bf16/--no-bf16", help="Run the model in bfloat16.")
]
SeedOption = Annotated[int, typer.Option("--seed", help="Seed of everything random.")]
QueriesOption = Annotated[
    str | None,
    typer.Option(
        "--queries",
        help="Test inputs for the influence detectors, in any of the formats; "
        "by default training rows are drawn.",
    ),
]
QueryCountOption = Annotated[
    int, typer.Option("--query-count", min=1, help="Test inputs to draw from them.")
]
InfluenceOption = Annotated[
    bool,
    typer.Option(
        "--influence/--no-influence",
        help="Measure influences on transformed inputs for the other detectors too.",
    ),
]
AttributionOption = Annotated[
    str,
    typer.Option(
        "--attribution",
        help="How influence is computed: ekfac, identity, diagonal, datainf (LoRA "
        "models only) or repsim.",
    ),
]
DampingOption = Annotated[
    float,
    typer.Option(
        "--damping", help="Damping of the curvature, of its mean in each layer."
    ),
]
FactorRowsOption = Annotated[
    int,
    typer.Option("--factor-rows", min=1, help="Rows the curvature is estimated on."),
]
FactorsOption = Annotated[
    str | None,
    typer.Option(
        "--factors",
        help="Curvature from another run (its factors.safetensors) of the same model "
        "and data.",
    ),
]
ModulesOption = Annotated[
    str | None,
    typer.Option("--modules", help="Regular expression of the layers to track."),
]
FirstLayersOption = Annotated[
    int | None,
    typer.Option("--first-layers", min=1, help="Track the first K blocks only."),
]
RankOption = Annotated[
    int,
    typer.Option("--rank", min=1, help="Side of a layer's projected gradients."),
]
TokenBudgetOption = Annotated[
    int, typer.Option("--token-budget", min=1, help="Padded tokens in a batch.")
]
CheckpointingOption = Annotated[
    bool,
    typer.Option(
        "--checkpointing/--no-checkpointing",
        help="Recompute activations block by block: less memory, a third more time.",
    ),
]
MaxMemoryOption = Annotated[
    float | None,
    typer.Option(
        "--max-memory",
        min=0.001,
        help="GiB a scan may take besides the model; what is free by default.",
    ),
]
ProxyEpochsOption = Annotated[
    int,
    typer.Option(
        "--epochs",
        min=1,
        help="Epochs of tuning --base-model (where --model does not note its own).",
    ),
]
ProxyRateOption = Annotated[
    float,
    typer.Option("--learning-rate", help="Peak learning rate of tuning --base-model."),
]
ProxyLoraOption = Annotated[
    int,
    typer.Option("--lora-rank", min=0, help="Tune --base-model by LoRA of this rank."),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON to stdout.")]
QuietOption = Annotated[
    bool,
    typer.Option(
        "--quiet",
        "-q",
        callback=set_quiet,
        help="Say nothing but errors; results that go to stdout still do.",
    ),
]


def scan_settings(options: Mapping[str, Any]) -> ScanSettings:
    """Pick a scan's settings out of a command's options, which bear their names."""
    from assay.settings import ScanSettings

    named = {**options, "queries": options["query_count"]}
    return ScanSettings(
        **{f.name: named[f.name] for f in fields(ScanSettings) if f.name in named}
    )


def proxy_settings(options: Mapping[str, Any]) -> TuneSettings:
    """Pick how a base model is tuned out of a command's options."""
    from assay.models.tune import TuneSettings

    names = ("epochs", "learning_rate", "lora_rank")
    return TuneSettings(**{name: options[name] for name in names})


def read(
    source: str | Path,
    format: str | None = None,
    mapping: list[str] | None = None,
    split: str = "train",
) -> Corpus:
    """Read a corpus and say what it was taken for.

    Raises:
        AssayError: The corpus or a ``--map`` is not as it should be.
    """
    import logging

    from assay.data.read import read_corpus

    columns = {}
    for entry in mapping or []:
        name, separator, column = entry.partition("=")
        if not separator or name not in ("text", "response", "instruction", "task"):
            raise AssayError(
                f"--map {entry}: expected text=COLUMN, response=COLUMN, "
                "instruction=COLUMN or task=COLUMN"
            )
        columns[name] = column
    corpus = read_corpus(source, format=format, mapping=columns, split=split)
    logging.getLogger("assay").info(
        "%s: %d rows, %s records in %s",
        corpus.source,
        len(corpus),
        corpus.format,
        corpus.container,
    )
    return corpus
