"""What reading and writing share: containers, and the raw text of their rows."""

from __future__ import annotations

import csv
from bisect import bisect_right
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from assay.errors import AssayError
from assay.util.messages import listed

# What compresses a file; all are read and written through pyarrow.
COMPRESSED = {".gz": "gzip", ".zst": "zstd", ".bz2": "bz2", ".lz4": "lz4"}
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
        delimiter: What separates the cells of a CSV file.
        inner: Where a file is one object around a list of rows whose other fields
            belong to every row: the list's name in it. Rows are written without them.
        gaps: Text behind rows, by their positions, where it is not ``between`` in a
            JSON list, and blank lines elsewhere.
    """

    rows: Sequence[str] = ()
    prefix: str = ""
    between: str = ""
    suffix: str = ""
    newline: str = "\n"
    header: Sequence[str] = ()
    quoting: Quoting = csv.QUOTE_MINIMAL
    delimiter: str = ","
    inner: str = ""
    gaps: Mapping[int, str] = field(default_factory=dict)


@dataclass(frozen=True)
class BadRow:
    """A row that is no record.

    Attributes:
        row: 0-based position.
        reason: What is wrong with it, and where.
    """

    row: int
    reason: str


@dataclass(frozen=True)
class Shard:
    """One of several files that hold a data set.

    Attributes:
        name: Its path within the folder, or below what the files' folders share.
        container: Its container.
        suffix: What its name ends with.
        payload: What writing it needs.
        first: Position of its first row in the data set.
        rows: Number of its rows.
    """

    name: str
    container: str
    suffix: str
    payload: Any
    first: int
    rows: int


@dataclass(frozen=True)
class Rows:
    """Records and where they came from.

    Attributes:
        records: The records, in order.
        container: File container.
        payload: What writing needs: a `Layout` or a table.
        lines: Line of each record in its file; empty where rows are no lines.
        bad: Rows that are no records, where they may be left out; their places in
            ``records`` hold empty ones.
        suffix: What the file's name ends with; empty for folders.
        sources: File and its first row, in order, where there are several.
    """

    records: Sequence[Record]
    container: str
    payload: Any = None
    lines: Sequence[int] = ()
    bad: Sequence[BadRow] = ()
    suffix: str = ""
    sources: Sequence[tuple[int, str]] = ()

    def where(self, source: str, row: int) -> str:
        """Name a row for messages."""
        first = 0
        if self.sources:
            at = bisect_right(self.sources, row, key=lambda s: s[0]) - 1
            first, source = self.sources[at]
        line = self.lines[row] if self.lines else 0
        return f"{source}:{line}" if line else f"{source}: row {row - first}"


def suffix_of(name: str) -> str:
    """Return what a file's name says of its container, such as ``.jsonl.gz``."""
    path = Path(name)
    last = path.suffix
    if last.lower() in COMPRESSED:
        return Path(path.stem).suffix + last
    return last


def container_of(name: str) -> str | None:
    """Name the container of a file by its name; None where it is unknown."""
    inner = suffix_of(name).lower()
    for ending in COMPRESSED:
        inner = inner.removesuffix(ending)
    return SUFFIXES.get(inner)


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
