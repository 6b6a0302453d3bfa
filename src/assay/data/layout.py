"""What reading and writing share: containers, and the raw text of their rows."""

from __future__ import annotations

import csv
import json
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from assay.errors import AssayError

SUFFIXES = {
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".json": "json",
    ".csv": "csv",
    ".tsv": "tsv",
    ".parquet": "parquet",
}
Quoting = Literal[0, 3]
Record = dict[str, Any]
# A hostile file can name a million columns, each a page long.
_NAMED = 20
_NAME = 60


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


@dataclass(frozen=True)
class Rows:
    """Records and where they came from.

    Attributes:
        records: The records, in order.
        container: File container.
        payload: What writing needs: a `Layout` or a table.
        lines: Line of each record in its file; empty where rows are no lines.
    """

    records: Sequence[Record]
    container: str
    payload: Any = None
    lines: Sequence[int] = ()

    def where(self, source: str, row: int) -> str:
        """Name a row for messages."""
        return f"{source}:{self.lines[row]}" if self.lines else f"{source}: row {row}"


def shortened(text: str, length: int) -> str:
    """Cut a text for messages."""
    return text if len(text) <= length else text[: length - 1] + "…"


def listed(names: Iterable[Any]) -> str:
    """List names for messages, the first of very many."""
    found = list(names)
    shown = [shortened(repr(n), _NAME) for n in found[:_NAMED]]
    if len(found) > _NAMED:
        shown.append(f"… ({len(found)} in all)")
    return ", ".join(shown) or "none"


def unique_names(names: Sequence[str], where: str) -> None:
    """Make sure that columns can be told apart.

    Raises:
        AssayError: There are no names, or two are the same.
    """
    if not any(names):
        raise AssayError(f"{where}: the header is empty; name the columns in it")
    twice = [n for n, count in Counter(names).items() if count > 1]
    if twice:
        raise AssayError(
            f"{where}: two columns are named {listed(twice)}; rename one of them"
        )


def reason(error: BaseException, length: int = 160) -> str:
    """Say in one short line what a library's error is about."""
    if isinstance(error, json.JSONDecodeError):
        return f"{error.msg} at column {error.colno}"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return " ".join(str(error).split())[:length] or type(error).__name__
