"""What reading and writing share: containers, and the raw text of their rows."""

from __future__ import annotations

import csv
import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

SUFFIXES = {
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".json": "json",
    ".csv": "csv",
    ".tsv": "tsv",
    ".parquet": "parquet",
}
Quoting = Literal[0, 3]


@dataclass(frozen=True)
class Layout:
    """The raw text of a file, so that rows nobody edited are written as they were.

    Attributes:
        rows: Text of each row; in JSONL and CSV with the line ending.
        prefix: Text before the first row: byte order mark, CSV header, ``[``.
        between: Text between two rows of a JSON list.
        suffix: Text after the last.
        newline: Line ending of edited rows.
        header: Columns of a CSV file.
        quoting: How the ``csv`` module reads and writes its cells.
    """

    rows: Sequence[str] = ()
    prefix: str = ""
    between: str = ""
    suffix: str = ""
    newline: str = "\n"
    header: Sequence[str] = ()
    quoting: Quoting = csv.QUOTE_MINIMAL


def reason(error: BaseException, length: int = 160) -> str:
    """Say in one short line what a library's error is about."""
    if isinstance(error, json.JSONDecodeError):
        return f"{error.msg} at column {error.colno}"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return " ".join(str(error).split())[:length] or type(error).__name__
