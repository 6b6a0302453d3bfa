"""Reading corpora: JSONL, JSON, CSV, TSV, Parquet, datasets folders, the hub."""

from __future__ import annotations

import csv
import io
import json
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

from assay.data.corpus import Corpus, Example
from assay.data.formats import FORMATS, detect_format, parse
from assay.data.layout import (
    SUFFIXES,
    Layout,
    Quoting,
    Record,
    Rows,
    listed,
    reason,
    unique_names,
)
from assay.data.tables import read_folder, read_hub, read_parquet
from assay.errors import AssayError

_SPACE = re.compile(r"[ \t\r\n]*")


def _decode(path: Path) -> str:
    raw = path.read_bytes()
    try:
        return raw.decode()
    except UnicodeDecodeError as error:
        line = raw[: error.start].count(b"\n") + 1
        guess = "utf-16" if raw[:2] in (b"\xff\xfe", b"\xfe\xff") else "latin1"
        raise AssayError(
            f"{path}:{line}: not UTF-8 (byte {error.start}); convert it: "
            f"iconv -f {guess} -t utf-8 {path.name}"
        ) from None


def _object(value: Any, where: str) -> Record:
    if not isinstance(value, dict):
        raise AssayError(
            f"{where}: expected a JSON object, found {type(value).__name__}"
        )
    return value


def _read_jsonl(path: Path, text: str, start: int) -> Rows:
    # Only the newline ends a line: str.splitlines would also split at U+2028,
    # which JSON allows inside strings.
    records, numbers, rows = [], [], []
    lines = text[start:].split("\n")
    for number, line in enumerate(lines, start=1):
        # What else Python takes for blank is no white space in JSON.
        if not line.strip(" \t\r"):
            continue
        try:
            value = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise AssayError(
                f"{path}:{number}: not valid JSON ({reason(error)}); expected one "
                "object a line, or one list of objects"
            ) from None
        records.append(_object(value, f"{path}:{number}"))
        numbers.append(number)
        rows.append(line + "\n" * (number < len(lines)))
    newline = "\r\n" if rows and rows[0].endswith("\r\n") else "\n"
    layout = Layout(rows, text[:start], newline=newline)
    return Rows(records, "jsonl", layout, numbers)


def _read_list(path: Path, text: str, start: int) -> Rows:
    def skip(at: int) -> int:
        found = _SPACE.match(text, at)
        return found.end() if found else at

    def unexpected(message: str) -> json.JSONDecodeError:
        return json.JSONDecodeError(message, text, at)

    decoder = json.JSONDecoder()
    records: list[Record] = []
    spans: list[tuple[int, int]] = []
    at = skip(skip(start) + 1)
    try:
        while spans or text[at : at + 1] != "]":
            value, end = decoder.raw_decode(text, at)
            records.append(_object(value, f"{path}: row {len(records)}"))
            spans.append((at, end))
            at = skip(end)
            if text[at : at + 1] == "]":
                break
            if text[at : at + 1] != ",":
                raise unexpected("Expecting ',' delimiter")
            at = skip(at + 1)
        at = skip(at + 1)
        if at < len(text):
            raise unexpected("Extra data")
    except json.JSONDecodeError as error:
        raise AssayError(
            f"{path}:{error.lineno}: not valid JSON ({reason(error)}); expected a "
            "list of objects"
        ) from None
    except (ValueError, RecursionError) as error:
        raise AssayError(
            f"{path}: row {len(records)}: not valid JSON ({reason(error)})"
        ) from None
    if not records:
        return Rows([], "json", None)
    layout = Layout(
        [text[start:end] for start, end in spans],
        text[: spans[0][0]],
        text[spans[0][1] : spans[1][0]] if len(spans) > 1 else ", ",
        text[spans[-1][1] :],
    )
    return Rows(records, "json", layout)


def _read_json(path: Path) -> Rows:
    # Half of the .json files on the hub hold JSON lines, and a line is an object.
    text = _decode(path)
    start = int(text.startswith("\ufeff"))
    is_list = text[start:].lstrip()[:1] == "["
    return (_read_list if is_list else _read_jsonl)(path, text, start)


def _csv_rows(
    path: Path, lines: list[str], delimiter: str, quoting: Quoting
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
                f"{path}:{first + 1}: malformed CSV ({error}); check the quoting"
            ) from None
        if cells:
            yield first, reader.line_num, cells
        first = reader.line_num


def _read_csv(path: Path, delimiter: str, quoting: Quoting = csv.QUOTE_MINIMAL) -> Rows:
    text = _decode(path)
    start = int(text.startswith("\ufeff"))
    lines = list(io.StringIO(text[start:], newline=""))
    rows = _csv_rows(path, lines, delimiter, quoting)
    _, top, header = next(rows, (0, 0, None))
    container = "tsv" if delimiter == "\t" else "csv"
    if header is None:
        return Rows([], container, None)
    unique_names(header, f"{path}:{top}")
    records: list[Record] = []
    raw: list[str] = []
    for first, after, cells in rows:
        if len(cells) != len(header):
            raise AssayError(
                f"{path}:{first + 1}: {len(cells)} cells, the header has "
                f"{len(header)}; check the quoting"
            )
        records.append(dict(zip(header, cells, strict=True)))
        raw.append("".join(lines[first:after]))
    ending = lines[top - 1]
    layout = Layout(
        raw,
        text[:start] + "".join(lines[:top]),
        newline=ending[len(ending.rstrip("\r\n")) :] or "\n",
        header=header,
        quoting=quoting,
    )
    return Rows(records, container, layout)


def _read_tsv(path: Path) -> Rows:
    # Many tab-separated files never quote, and keep bare quotation marks.
    bare = None
    with suppress(AssayError):
        bare = _read_csv(path, "\t", csv.QUOTE_NONE)
    try:
        quoted = _read_csv(path, "\t")
    except AssayError:
        if bare is None:
            raise
        return bare
    if bare is not None and len(bare.records) != len(quoted.records):
        raise AssayError(
            f"{path}: {len(quoted.records)} rows if quotation marks enclose cells, "
            f"{len(bare.records)} if they are text; write it as CSV or JSONL"
        )
    return quoted


def _read_container(source: str, split: str) -> Rows:
    path = Path(source)
    suffix = path.suffix.lower()
    if path.is_file():
        container = SUFFIXES.get(suffix)
        if container is None:
            raise AssayError(
                f"{path}: unknown file type {suffix!r}; known: {', '.join(SUFFIXES)}"
            )
        if path.stat().st_size == 0:
            raise AssayError(f"{path}: the file is empty")
        if container == "csv":
            return _read_csv(path, ",")
        if container == "tsv":
            return _read_tsv(path)
        return (read_parquet if container == "parquet" else _read_json)(path)
    if path.is_dir():
        return read_folder(path, split)
    if source.count("/") != 1 or source[0] in "./~" or suffix in SUFFIXES:
        raise AssayError(f"{source}: no such file or folder")
    return read_hub(source, split)


def _unique(examples: Sequence[Example]) -> tuple[Example, ...]:
    """Give rows that share an id one derived from the row, so that ids are unique."""
    counts = Counter(e.id for e in examples)
    taken = {i for i, n in counts.items() if n == 1}
    unique = []
    for example in examples:
        name = example.id
        if counts[name] > 1:
            name = f"row-{example.row}"
            while name in taken:
                name += "+"
            taken.add(name)
        unique.append(example if name == example.id else replace(example, id=name))
    return tuple(unique)


def read_corpus(
    source: str | Path,
    *,
    format: str | None = None,
    mapping: Mapping[str, str] | None = None,
    split: str = "train",
) -> Corpus:
    """Read a corpus.

    Args:
        source: File (JSONL, JSON, CSV, TSV, Parquet), ``datasets`` folder or hub id.
        format: Record format; by default it is detected from the first record.
        mapping: Columns of the ``columns`` format: ``text`` and ``response``, and
            optionally ``instruction`` and ``task``.
        split: Split of a ``datasets`` folder or hub data set.

    Raises:
        AssayError: The source is missing, empty, malformed, or of unknown format.
    """
    source = str(source)
    check_format(format)
    try:
        rows = _read_container(source, split)
    except OSError as error:
        raise AssayError(f"{source}: cannot be read ({reason(error)})") from None
    corpus = corpus_of(rows, source, format, mapping)
    return replace(corpus, split=split) if rows.container == "datasets" else corpus


def check_format(format: str | None) -> None:
    """Make sure that a format is known.

    Raises:
        AssayError: It is not.
    """
    if format is not None and format not in FORMATS:
        raise AssayError(f"unknown format {format!r}; known: {', '.join(FORMATS)}")


def corpus_of(
    rows: Rows, source: str, format: str | None, mapping: Mapping[str, str] | None
) -> Corpus:
    """Turn records into a corpus.

    Args:
        rows: The records.
        source: Where they are from; for messages.
        format: Record format; by default it is detected from the first record.
        mapping: Columns of the ``columns`` format.

    Raises:
        AssayError: There are none, a record is not as its format says, or the format
            is unknown.
    """
    check_format(format)
    records = rows.records
    if not records:
        raise AssayError(f"{source}: no rows in it")
    mapping = dict(mapping or {})
    chosen = format or ("columns" if mapping else detect_format(records[0]))
    if chosen is None:
        raise AssayError(
            f"{source}: unknown format, its fields are {listed(records[0])}; "
            "name the columns: --map text=COLUMN --map response=COLUMN"
        )
    if chosen == "columns":
        if not {"text", "response"} <= set(mapping):
            raise AssayError(
                "the columns format needs --map text=COLUMN --map response=COLUMN"
            )
        for column in mapping.values():
            if column not in records[0]:
                raise AssayError(
                    f"{source}: no column {column!r}; it has {listed(records[0])}"
                )
    examples = [
        parse(record, i, chosen, mapping, rows.where(source, i))
        for i, record in enumerate(records)
    ]
    return Corpus(
        _unique(examples), chosen, rows.container, source, mapping, rows.payload
    )
