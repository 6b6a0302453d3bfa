"""The option that gives each task its labels, for ``attack`` and ``evaluate``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from assay.cli.config import read_yaml

if TYPE_CHECKING:
    from assay.data.corpus import Corpus
    from assay.data.label_spaces import LabelSpace

AUTO = "auto"

LabelSpacesOption = Annotated[
    str | None,
    typer.Option(
        "--label-spaces",
        metavar="auto|FILE",
        help="Data of many tasks: labels of each task, the positive one last, from a "
        "YAML or JSON file of TASK: [NEGATIVE, POSITIVE]. With auto, a task's labels "
        "are the outputs of its examples and rows, and the positive one is positive, "
        "pos, good, joy, or non-X beside X; where none is, that is an error.",
    ),
]


def file_of(word: str | None) -> str | None:
    """Return the file that the option names, which must not be written over."""
    return None if word in (None, AUTO) else word


def spaces_for(word: str, corpus: Corpus) -> dict[str, LabelSpace]:
    """Give the tasks of a corpus the label spaces that the option says.

    Raises:
        AssayError: The file is not as expected, or does not go with the corpus.
    """
    from assay.data.label_spaces import checked_labels, label_spaces

    if word == AUTO:
        return label_spaces(corpus)
    return label_spaces(corpus, checked_labels(word, read_yaml(Path(word))))
