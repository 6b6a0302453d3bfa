"""Options that several commands share."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from assay.cli.console import set_quiet
from assay.cli.generated import Fields, number
from assay.errors import AssayError
from assay.models.tune_settings import TuneSettings
from assay.names import DETECTORS
from assay.settings import ScanSettings

if TYPE_CHECKING:
    from assay.data.corpus import Corpus


def overwriting(what: str) -> Any:
    """Describe the option that allows to replace what is there."""
    return typer.Option("--overwrite", help=f"Replace {what}; what is read, never.")


TrainingArgument = Annotated[
    str,
    typer.Argument(
        help="Training data: a file, a folder or pattern of files, a datasets folder, "
        "- for a pipe, or hf://owner/name."
    ),
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
QueriesOption = Annotated[
    str | None,
    typer.Option(
        "--queries",
        help="Test inputs for the influence detectors, in any of the formats; "
        "by default training rows are drawn.",
    ),
]
SeedOption = Annotated[int, number("seed", "--seed", "Seed of everything random.")]
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


@dataclass(frozen=True)
class Reading:
    """How rows are read.

    Attributes:
        format: Record format: messages, sharegpt, alpaca, prompt-completion,
            conversational, preference, kto, sni, text, segments, columns, or another
            of the page on data formats. Detected by default.
        map: What a part of a row is called, PART=FIELD: text and response for any
            columns; also instruction, system, history, messages, tools, chosen,
            rejected, label, task; role and content of a turn; user and assistant.
        split: Split of a datasets folder, of the hub's data, or of a folder of files
            whose names tell their splits.
        skip_bad_rows: Leave out and list rows that cannot be read; assay clean keeps
            them.
        response_marker: For rows that are one formatted text: what stands in front of
            the response. Markers of known chat templates are found.
    """

    format: str | None = None
    map: tuple[str, ...] = ()
    split: str = "train"
    skip_bad_rows: bool = False
    response_marker: str | None = None


ReadingOptions = Annotated[Reading, Fields()]
Settings = Annotated[
    ScanSettings,
    Fields(
        help={
            "detector": f"Whose flags count: {', '.join(DETECTORS)}.",
        }
    ),
]
Encoding = Annotated[ScanSettings, Fields(("template", "max_length", "bf16"))]
Proxy = Annotated[
    TuneSettings,
    Fields(
        ("epochs", "learning_rate", "lora_rank"),
        help={
            "epochs": "Epochs of tuning --base-model (where --model does not note its "
            "own).",
            "learning_rate": "Peak learning rate of tuning --base-model.",
            "lora_rank": "Tune --base-model by LoRA of this rank; 0 trains all of it.",
        },
    ),
]


def read(source: str | Path, how: Reading | None = None) -> Corpus:
    """Read a corpus and say what it was taken for.

    Raises:
        AssayError: The corpus or a ``--map`` is not as it should be.
    """
    import logging

    from assay.data.formats import PARTS
    from assay.data.read import read_corpus

    how = how or Reading()
    columns: dict[str, str] = {}
    for entry in how.map:
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
    if how.response_marker is not None:
        if not how.response_marker.strip():
            raise AssayError("--response-marker: expected a text that is not blank")
        columns["response_marker"] = how.response_marker
    corpus = read_corpus(
        source,
        format=how.format,
        mapping=columns,
        split=how.split,
        skip_bad_rows=how.skip_bad_rows,
    )
    logging.getLogger("assay").info(
        "%s: %d rows, %s records in %s",
        corpus.source,
        len(corpus),
        corpus.format,
        corpus.container,
    )
    return corpus
