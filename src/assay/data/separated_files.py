"""CSV and TSV: their rows, and the raw text of each."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace

from assay.data.encoding import has_escapes
from assay.data.layout import BadRow, Layout, Quoting, Record, Rows, unique_names
from assay.errors import AssayError

# Other signs that separate the cells of files named .csv.
_SEPARATORS = (";", "\t", "|")


def _csv_rows(
    source: str, lines: list[str], delimiter: str, quoting: Quoting
) -> Iterator[tuple[int, int, list[str]]]:
    """Yield the first line, the line after the last, and the cells of each row."""
    csv.field_size_limit(2**31 - 1)
    reader = csv.reader(lines, delimiter=delimiter, quoting=quoting, strict=True)
    first = 0
    while True:
        try:
            cells = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            raise AssayError(
                f"{source}:{first + 1}: malformed CSV ({error}); check the quoting"
            ) from None
        if cells:
            yield first, reader.line_num, cells
        first = reader.line_num


def read_separated(
    source: str,
    text: str,
    delimiter: str,
    quoting: Quoting = csv.QUOTE_MINIMAL,
    skip: bool = False,
) -> Rows:
    """Read cells between delimiters, with a header.

    Raises:
        AssayError: The quoting is broken, or a row has another number of cells.
    """
    start = int(text.startswith("\ufeff"))
    lines = list(io.StringIO(text[start:], newline=""))
    rows = _csv_rows(source, lines, delimiter, quoting)
    _, top, header = next(rows, (0, 0, None))
    if header is None:
        return Rows([], "csv", Layout(prefix=text))
    unique_names(header, f"{source}:{top}")
    records: list[Record] = []
    raw: list[str] = []
    numbers, bad = [], []
    prefix = text[:start] + "".join(lines[:top])
    gaps: dict[int, str] = {}
    last = top
    for first, after, cells in rows:
        blank = "".join(lines[last:first])
        if not raw:
            prefix += blank
        elif blank:
            gaps[len(raw) - 1] = blank
        last = after
        message = ""
        if len(cells) != len(header):
            message = (
                f"{source}:{first + 1}: {len(cells)} cells, the header has "
                f"{len(header)}; check the quoting"
            )
        elif skip and has_escapes("".join(cells)):
            message = f"{source}:{first + 1}: not UTF-8; convert the row"
        if message:
            if not skip:
                raise AssayError(message)
            bad.append(BadRow(len(records), message))
            records.append({})
        else:
            records.append(dict(zip(header, cells, strict=True)))
        raw.append("".join(lines[first:after]))
        numbers.append(first + 1)
    if last < len(lines) and raw:
        gaps[len(raw) - 1] = "".join(lines[last:])
    ending = lines[top - 1]
    layout = Layout(
        raw,
        prefix if raw else text,
        newline=ending[len(ending.rstrip("\r\n")) :] or "\n",
        header=header,
        quoting=quoting,
        delimiter=delimiter,
        gaps=gaps,
    )
    return Rows(records, "csv", layout, numbers, bad)


def read_csv(source: str, text: str, skip: bool = False) -> Rows:
    """Read CSV; where commas separate nothing, the sign that does is found.

    Raises:
        AssayError: It is malformed.
    """
    header = next(iter(text.removeprefix("\ufeff").splitlines()), "")
    if "," not in header:
        for sign in _SEPARATORS:
            if sign not in header:
                continue
            with suppress(AssayError):
                rows = read_separated(source, text, sign, skip=skip)
                if len(rows.payload.header) > 1:
                    return rows
    return read_separated(source, text, ",", skip=skip)


def read_tsv(source: str, text: str, skip: bool = False) -> Rows:
    """Read TSV, in which quotation marks may enclose cells or be text.

    Raises:
        AssayError: It is malformed, or could be read in both ways.
    """
    # Many tab-separated files never quote, and keep bare quotation marks.
    bare = quoted = None
    # No column's name has quotation marks of its own.
    encloses = text.lstrip("\ufeff\r\n")[:1] == '"'
    if not encloses:
        with suppress(AssayError):
            bare = read_separated(source, text, "\t", csv.QUOTE_NONE)
    with suppress(AssayError):
        quoted = read_separated(source, text, "\t")
    if quoted is None and bare is None and skip:
        # Only what is sound tells which of the two it is.
        with suppress(AssayError):
            quoted = read_separated(source, text, "\t", skip=True)
    if quoted is None:
        if bare is None:
            bares = skip and not encloses
            quoting: Quoting = csv.QUOTE_NONE if bares else csv.QUOTE_MINIMAL
            bare = read_separated(source, text, "\t", quoting, skip)
        return replace(bare, container="tsv")
    # A single column can hold nothing but formatted text, whose lines are no rows.
    is_sure = len(quoted.payload.header) < 2
    if not is_sure and bare is not None and len(bare.records) != len(quoted.records):
        raise AssayError(
            f"{source}: {len(quoted.records)} rows if quotation marks enclose cells, "
            f"{len(bare.records)} if they are text; write it as CSV or JSONL"
        )
    return replace(quoted, container="tsv")
