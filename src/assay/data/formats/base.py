"""What every record format shares: values as text, and what a reader returns."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from math import isfinite, isinf
from typing import Any

from assay.data.corpus import Example
from assay.errors import AssayError
from assay.util.messages import shortened

MEND = "mend or remove the row, or give --skip-bad-rows"
Record = Mapping[str, Any]


@dataclass(frozen=True)
class Reading:
    """What a format makes of a record.

    Attributes:
        example: The example, still without id, row and record.
        fields: Names of the record's fields that were read.
        unread: Fields within others that were not, such as ``messages[].name``.
        left_out: Why the record is no example although it is sound, such as that
            nothing of it is trained on; else empty.
        id: The record's own identifier, where it is not in its field ``id``.
    """

    example: Example
    fields: frozenset[str]
    unread: Sequence[str] = field(default=())
    left_out: str = ""
    id: str = ""


def blank(
    text: str = "", response: str = "", instruction: str = "", **more: Any
) -> Example:
    """Make an example that has no id, row and record yet."""
    return Example("", 0, instruction, text, response, **more)


def encodable(text: str, field: str, where: str) -> str:
    """Return a text that can be written as UTF-8.

    Raises:
        AssayError: It has half of a surrogate pair, which no tokenizer takes.
    """
    try:
        text.encode()
    except UnicodeEncodeError:
        raise AssayError(
            f"{where}: field {shown(field)} has half of a surrogate pair, which cannot "
            f"be encoded as UTF-8; {MEND}"
        ) from None
    return text


def _kind(value: Any) -> str:
    if value is None:
        return "null"
    if isinstance(value, float) and value != value:
        return "NaN"
    if isinstance(value, float) and isinf(value):
        return "Infinity"
    return f"a {type(value).__name__}"


def as_text(value: Any, field: str, where: str) -> str:
    """Return a value as text: a string, a finite number, or a list of one of them.

    Raises:
        AssayError: It is something else.
    """
    found = value
    if isinstance(value, list) and len(value) == 1:
        value = value[0]
    if isinstance(value, int | float) and not isinstance(value, bool):
        unfit = value != value or (isinstance(value, float) and isinf(value))
        found, value = (value, None) if unfit else (found, str(value))
    if not isinstance(value, str):
        raise AssayError(
            f"{where}: field {shown(field)} is {_kind(found)}, expected text; {MEND}"
        )
    return encodable(value, field, where)


def text_of(record: Record, field: str, where: str) -> str:
    """Return a field's text.

    Raises:
        AssayError: The field is missing, or something else than text.
    """
    if field not in record:
        raise AssayError(f"{where}: field {shown(field)} is missing; {MEND}")
    return as_text(record[field], field, where)


def is_empty(value: Any) -> bool:
    """Whether a cell holds nothing: tables leave it out as null, pandas as NaN."""
    return value is None or value in ("", [], {}) or value != value


def optional(record: Record, field: str, where: str) -> str:
    """Return a field's text, empty where it is left out.

    Raises:
        AssayError: It is something else than text.
    """
    value = record.get(field)
    return "" if is_empty(value) else as_text(value, field, where)


def answers_of(record: Record, field: str, where: str) -> tuple[str, tuple[str, ...]]:
    """Return the answer that a model is trained on, the first, and the others.

    Raises:
        AssayError: The field is missing, or no text and no list of texts.
    """
    value = record.get(field)
    if isinstance(value, list) and len(value) > 1:
        first, *others = (as_text(v, field, where) for v in value)
        return first, tuple(others)
    return text_of(record, field, where), ()


def name_of(value: Any, field: str, where: str) -> str:
    """Return an identifier as text; empty where it is none."""
    known = isinstance(value, str | int) and not isinstance(value, bool)
    return encodable(str(value), field, where) if known else ""


def truth(value: Any) -> bool | None:
    """Return true or false, which tables hold as text or as 1 and 0; else None."""
    if isinstance(value, str):
        return {"true": True, "false": False}.get(value.lower())
    is_flag = isinstance(value, int | float) and value in (0, 1)
    return bool(value) if is_flag else None


def shown(value: Any) -> str:
    """Show a value in a message."""
    return shortened(repr(value), 60)


def like(old: Any, new: str) -> Any:
    """Give an edited text the type of what it replaces, where it can have it."""
    if isinstance(old, list):
        return [like(old[0], new), *old[1:]] if old else [new]
    if isinstance(old, int | float) and not isinstance(old, bool):
        try:
            number = type(old)(new)
        except ValueError:
            return new
        # The text "inf" is a text: no file is to hold Infinity for it.
        return number if str(number) == new and isfinite(number) else new
    return new
