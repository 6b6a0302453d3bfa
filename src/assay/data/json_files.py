"""JSON lines and JSON: their rows, and the raw text of each."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

from assay.data.encoding import check_escapes
from assay.data.formats import detect_format
from assay.data.layout import BadRow, Layout, Record, Rows
from assay.errors import AssayError
from assay.util.messages import listed, reason, shortened

_SPACE = re.compile(r"[ \t\r\n]*")


class _TwiceError(ValueError):
    """A key stands twice in an object."""


def _unique(pairs: list[tuple[str, Any]]) -> Record:
    found = dict(pairs)
    if len(found) < len(pairs):
        seen: set[str] = set()
        for key, _ in pairs:
            if key in seen:
                raise _TwiceError(
                    f"key {shortened(repr(key), 60)} stands twice in an object; "
                    "keep one of them"
                )
            seen.add(key)
    return found


_DECODER = json.JSONDecoder(object_pairs_hook=_unique)
# Finds the end of what the other one refuses.
_LENIENT = json.JSONDecoder()


def _object(value: Any) -> Record:
    if not isinstance(value, dict):
        raise _TwiceError(f"expected a JSON object, found {type(value).__name__}")
    return value


def read_jsonl(source: str, text: str, start: int, skip: bool = False) -> Rows:
    """Read JSON lines.

    Args:
        source: Name of the file, for messages.
        text: What it holds.
        start: Where the first line begins, after a byte order mark.
        skip: Note lines that cannot be read instead of refusing the file.

    Raises:
        AssayError: A line is no JSON object.
    """
    # Only the newline ends a line: str.splitlines would also split at U+2028,
    # which JSON allows inside strings.
    records: list[Record] = []
    numbers, bad = [], []
    rows: list[str] = []
    prefix = text[:start]
    gaps: dict[int, str] = {}
    lines = text[start:].split("\n")
    for number, line in enumerate(lines, start=1):
        # What else Python takes for blank is no white space in JSON.
        if not line.strip(" \t\r"):
            blank = line + "\n" * (number < len(lines))
            if not rows:
                prefix += blank
            elif blank:
                gaps[len(rows) - 1] = gaps.get(len(rows) - 1, "") + blank
            continue
        try:
            value = _line(line, source, number)
        except AssayError as error:
            if not skip:
                raise
            value = {}
            bad.append(BadRow(len(records), str(error)))
        records.append(value)
        numbers.append(number)
        rows.append(line + "\n" * (number < len(lines)))
    newline = "\r\n" if rows and rows[0].endswith("\r\n") else "\n"
    layout = Layout(rows, prefix, newline=newline, gaps=gaps)
    return Rows(records, "jsonl", layout, numbers, bad)


def _line(line: str, source: str, number: int) -> Record:
    place = f"{source}:{number}"
    check_escapes(line, place)
    try:
        # Not raw_decode: it would take what follows the object for nothing.
        return _object(_DECODER.decode(line))
    except _TwiceError as error:
        raise AssayError(f"{place}: {error}") from None
    except (ValueError, RecursionError) as error:
        raise AssayError(
            f"{place}: not valid JSON ({reason(error)}); expected one "
            "object a line, or one list of objects"
        ) from None


def _skip(text: str, at: int) -> int:
    found = _SPACE.match(text, at)
    return found.end() if found else at


def _expect(text: str, at: int, sign: str) -> int:
    if text[at : at + 1] != sign:
        raise json.JSONDecodeError(f"Expecting {sign!r} delimiter", text, at)
    return _skip(text, at + 1)


def _elements(
    text: str, at: int, source: str, skip: bool
) -> tuple[list[Record], list[tuple[int, int]], list[BadRow], int]:
    """Read the objects of a list that opens at ``at``.

    Returns:
        The objects, their places in the text, those that are no records where they
        are to be noted instead of refused, and the place after the list.
    """
    records: list[Record] = []
    spans: list[tuple[int, int]] = []
    bad: list[BadRow] = []
    at = _skip(text, at + 1)
    try:
        while spans or text[at : at + 1] != "]":
            try:
                value, end = _DECODER.raw_decode(text, at)
                record = _object(value)
            except _TwiceError as error:
                if not skip:
                    raise
                record, (_, end) = {}, _LENIENT.raw_decode(text, at)
                why = f"{source}: row {len(records)}: {error}"
                bad.append(BadRow(len(records), why))
            records.append(record)
            spans.append((at, end))
            at = _skip(text, end)
            if text[at : at + 1] == "]":
                break
            at = _expect(text, at, ",")
    except json.JSONDecodeError:
        raise
    except (ValueError, RecursionError) as error:
        why = str(error)
        if not isinstance(error, _TwiceError):
            why = f"not valid JSON ({reason(error)})"
        raise AssayError(f"{source}: row {len(records)}: {why}") from None
    return records, spans, bad, at + 1


def _list_layout(
    text: str, spans: Sequence[tuple[int, int]], inner: str = ""
) -> Layout:
    if not spans:
        return Layout(prefix=text)
    apart = [text[a[1] : b[0]] for a, b in pairwise(spans)]
    between = apart[0] if apart else ", "
    return Layout(
        [text[start:end] for start, end in spans],
        text[: spans[0][0]],
        between,
        text[spans[-1][1] :],
        inner=inner,
        gaps={i: gap for i, gap in enumerate(apart) if gap != between},
    )


def _not_json(source: str, error: json.JSONDecodeError) -> AssayError:
    return AssayError(
        f"{source}:{error.lineno}: not valid JSON ({reason(error)}); expected a list "
        "of objects"
    )


def read_list(source: str, text: str, start: int, skip: bool = False) -> Rows:
    """Read a JSON list of objects.

    Raises:
        AssayError: It is not one.
    """
    try:
        records, spans, bad, end = _elements(text, _skip(text, start), source, skip)
        at = _skip(text, end)
        if at < len(text):
            raise json.JSONDecodeError("Extra data", text, at)
    except json.JSONDecodeError as error:
        raise _not_json(source, error) from None
    return Rows(records, "json", _list_layout(text, spans), bad=bad)


def _lists_in(text: str, at: int, source: str) -> tuple[Record, dict[str, int], int]:
    """Read an object, and where the lists among its values open.

    Raises:
        AssayError: A key stands twice in it, and it is no line of JSON lines.
    """
    values: Record = {}
    lists = {}
    opened, twice = at, ""
    at = _expect(text, at, "{")
    while text[at : at + 1] != "}":
        key, at = _DECODER.raw_decode(text, at)
        if not isinstance(key, str):
            raise json.JSONDecodeError("Expecting a name", text, at)
        if key in values:
            twice = twice or shortened(repr(key), 60)
        at = _expect(text, _skip(text, at), ":")
        if text[at : at + 1] == "[":
            lists[key] = at
        values[key], at = _DECODER.raw_decode(text, at)
        at = _skip(text, at)
        if text[at : at + 1] == "}":
            break
        at = _expect(text, at, ",")
    if twice and "\n" in text[opened:at]:
        raise AssayError(
            f"{source}: key {twice} stands twice in the file's object; keep one of them"
        )
    if twice:
        raise _TwiceError(twice)
    return values, lists, at + 1


def read_object(
    source: str, text: str, start: int, skip: bool = False, is_lines: bool = False
) -> Rows:
    """Read a file that begins with an object: JSON lines, or one around a list of rows.

    Args:
        source: Name of the file, for messages.
        text: What it holds.
        start: Where it begins, after a byte order mark.
        skip: Note rows that cannot be read instead of refusing the file.
        is_lines: Whether the file's name says that it holds JSON lines, so that a
            single line is a row even where there is a list of objects in it.

    Raises:
        AssayError: It is neither.
    """
    at = _skip(text, start)
    try:
        values, lists, end = _lists_in(text, at, source)
    except (ValueError, RecursionError):
        return read_jsonl(source, text, start, skip)
    if _skip(text, end) < len(text):
        return read_jsonl(source, text, start, skip)
    alone = is_lines and "\n" not in text[at:end]
    # A line is a row, whatever it lacks: what is left when rows are removed has to be
    # read alike.
    if "Definition" in values and "Instances" in lists and not alone:
        records, spans, bad, _ = _elements(text, lists["Instances"], source, skip)
        # A task file: what it says beside the instances belongs to each of them.
        layout = _list_layout(text, spans, inner="Instances")
        whole = [{**values, "Instances": [record]} for record in records]
        return Rows(whole, "json", layout, bad=bad)
    _refuse_columns(source, values)
    # A row of its own, perhaps written over several lines.
    body = Layout([text[at:end]], text[:at], newline="", suffix=text[end:])
    one = Rows([values], "jsonl", body, [text[:at].count("\n") + 1])
    if alone or detect_format(values) is not None:
        return one
    rows = {k: v for k, v in values.items() if k in lists and v}
    rows = {k: v for k, v in rows.items() if all(isinstance(r, dict) for r in v)}
    if len(rows) == 1:
        (name,) = rows
        records, spans, bad, _ = _elements(text, lists[name], source, skip)
        return Rows(records, "json", _list_layout(text, spans), bad=bad)
    if len(rows) > 1:
        raise AssayError(
            f"{source}: lists of rows under {listed(rows)}; write one of them into a "
            "file of its own"
        )
    if not values or "\n" not in text[at:end]:
        return read_jsonl(source, text, start, skip)
    # Its fields are unknown, which is said where formats are.
    return one


def _is_column(value: Any) -> bool:
    """Whether a value holds one cell of each of several rows."""
    if isinstance(value, dict):
        return len(value) > 1 and all(key.isdigit() for key in value)
    return (
        isinstance(value, list)
        and len(value) > 1
        and not any(isinstance(cell, dict) for cell in value)
    )


def _refuse_columns(source: str, values: Record) -> None:
    """Refuse JSON that holds a list, or an object of row numbers, for each column."""
    sizes = {len(v) for v in values.values() if _is_column(v)}
    if len(values) < 2 or len(sizes) != 1 or not all(map(_is_column, values.values())):
        return
    raise AssayError(
        f"{source}: a list for each of the columns {listed(values)}; expected an "
        "object for each row, as pandas writes with "
        'to_json(orient="records", lines=True)'
    )


def read_json(
    source: str, text: str, skip: bool = False, is_lines: bool = False
) -> Rows:
    """Read JSON or JSON lines, told apart by what they begin with.

    Half of the .json files on the hub hold JSON lines.

    Raises:
        AssayError: It is neither.
    """
    start = int(text.startswith("\ufeff"))
    at = _skip(text, start)
    opening = text[at : at + 1]
    if opening == "[":
        return read_list(source, text, start, skip)
    if opening == "{":
        return read_object(source, text, start, skip, is_lines)
    return read_jsonl(source, text, start, skip)
