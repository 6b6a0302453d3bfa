"""Options that several commands share."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from assay.cli.console import set_quiet
from assay.errors import AssayError
from assay.util.ranges import RANGES, check_number

if TYPE_CHECKING:
    from assay.data.corpus import Corpus
    from assay.models.tune import TuneSettings
    from assay.settings import ScanSettings


def number(setting: str, flag: str, help: str) -> Any:
    """Describe an option that is a number, and has the range of a setting."""

    def check(value: Any) -> Any:
        check_number(setting, value, f"{flag} {value}")
        return value

    return typer.Option(flag, callback=check, help=f"{help} ({RANGES[setting]})")


def overwriting(what: str) -> Any:
    """Describe the option that allows to replace what is there."""
    return typer.Option("--overwrite", help=f"Replace {what}; what is read, never.")


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
    number("fdr", "--fdr", "Tolerated share of false flags, in expectation."),
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
        help="Record format: messages, sharegpt, alpaca, prompt-completion, "
        "conversational, preference, kto, sni, text, segments, columns, or another of "
        "the page on data formats. Detected by default.",
    ),
]
MapOption = Annotated[
    list[str] | None,
    typer.Option(
        "--map",
        help="What a part of a row is called, PART=FIELD: text and response for any "
        "columns; also instruction, system, history, messages, tools, chosen, "
        "rejected, label, task; role and content of a turn; user and assistant.",
    ),
]
SplitOption = Annotated[
    str,
    typer.Option(
        "--split",
        help="Split of a datasets folder, of the hub's data, or of a folder of files "
        "whose names tell their splits.",
    ),
]
SkipBadOption = Annotated[
    bool,
    typer.Option(
        "--skip-bad-rows",
        help="Leave out and list rows that cannot be read; assay clean keeps them.",
    ),
]
MarkerOption = Annotated[
    str | None,
    typer.Option(
        "--response-marker",
        metavar="TEXT",
        help="For rows that are one formatted text: what stands in front of the "
        "response. Markers of known chat templates are found.",
    ),
]
TemplateOption = Annotated[
    str,
    typer.Option(
        "--template", help="Prompt template: auto, chat, plain, alpaca, tk-instruct."
    ),
]
LengthOption = Annotated[
    int, number("max_length", "--max-length", "Longest example in tokens.")
]
Bf16Option = Annotated[
    bool, typer.Option("--bf16/--no-bf16", help="Run the model in bfloat16.")
]
SeedOption = Annotated[int, number("seed", "--seed", "Seed of everything random.")]
QueriesOption = Annotated[
    str | None,
    typer.Option(
        "--queries",
        help="Test inputs for the influence detectors, in any of the formats; "
        "by default training rows are drawn.",
    ),
]
QueryCountOption = Annotated[
    int, number("queries", "--query-count", "Test inputs to draw from them.")
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
    number(
        "damping", "--damping", "Damping of the curvature, of its mean in each layer."
    ),
]
FactorRowsOption = Annotated[
    int,
    number("factor_rows", "--factor-rows", "Rows the curvature is estimated on."),
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
    number("first_layers", "--first-layers", "Track the first K blocks only."),
]
RankOption = Annotated[
    int,
    number("rank", "--rank", "Side of a layer's projected gradients."),
]
TokenBudgetOption = Annotated[
    int, number("token_budget", "--token-budget", "Padded tokens in a batch.")
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
    number(
        "max_memory",
        "--max-memory",
        "GiB a scan may take besides the model; what is free by default.",
    ),
]
ProxyEpochsOption = Annotated[
    int,
    number(
        "epochs",
        "--epochs",
        "Epochs of tuning --base-model (where --model does not note its own).",
    ),
]
ProxyRateOption = Annotated[
    float,
    number(
        "learning_rate",
        "--learning-rate",
        "Peak learning rate of tuning --base-model.",
    ),
]
ProxyLoraOption = Annotated[
    int,
    number("lora_rank", "--lora-rank", "Tune --base-model by LoRA of this rank."),
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
    skip_bad_rows: bool = False,
    response_marker: str | None = None,
) -> Corpus:
    """Read a corpus and say what it was taken for.

    Raises:
        AssayError: The corpus or a ``--map`` is not as it should be.
    """
    import logging

    from assay.data.formats import PARTS
    from assay.data.read import read_corpus

    columns: dict[str, str] = {}
    for entry in mapping or []:
        name, separator, column = entry.partition("=")
        if not separator or not column or name not in PARTS:
            raise AssayError(
                f"--map {entry}: expected PART=FIELD, with PART one of "
                f"{', '.join(PARTS)}"
            )
        if name in columns:
            raise AssayError(
                f"--map {entry}: {name} is {columns[name]!r} already; give one column "
                "for each"
            )
        columns[name] = column
    if response_marker is not None:
        if not response_marker.strip():
            raise AssayError("--response-marker: expected a text that is not blank")
        columns["response_marker"] = response_marker
    corpus = read_corpus(
        source,
        format=format,
        mapping=columns,
        split=split,
        skip_bad_rows=skip_bad_rows,
    )
    logging.getLogger("assay").info(
        "%s: %d rows, %s records in %s",
        corpus.source,
        len(corpus),
        corpus.format,
        corpus.container,
    )
    return corpus
