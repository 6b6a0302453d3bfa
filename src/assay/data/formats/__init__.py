"""Record formats: from a record to an example and back; one family a file."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from assay.data.corpus import Example
from assay.data.formats import (
    chat,
    conversational,
    fields,
    marked,
    preference,
    sni,
)
from assay.data.formats.base import Reading, Record, is_empty, name_of, truth

Read = Callable[[Record, Mapping[str, str], str], Reading]
Write = Callable[[Record, Mapping[str, str], str | None, str | None], Record]


@dataclass(frozen=True)
class Format:
    """A record format.

    Attributes:
        fits: Whether a record looks like one of this format.
        read: Makes an example of a record; takes the record, what its fields are
            called, and its place for messages.
        write: Returns a copy of a record with an edited text and response; None leaves
            one as it is.
        names: What the fields are called where nobody says otherwise.
    """

    fits: Callable[[Record], bool]
    read: Read
    write: Write
    names: Mapping[str, str]


def _has(*names: str) -> Callable[[Record], bool]:
    return lambda record: all(name in record for name in names)


def _is_judged(record: Record) -> bool:
    label = record.get(preference.label_field(record, {}))
    if truth(label) is None:
        return False
    if _has("prompt", "completion")(record):
        return True
    # Beside others, a number may well be a class.
    answered = _has("instruction", "output")(record) or chat.turns_field(record)
    named = "kto_tag" in record or not isinstance(label, int | float)
    return bool(answered) and (named or isinstance(label, bool))


def _is_chat(record: Record) -> str | None:
    field = chat.turns_field(record)
    if field in chat.FIELDS:
        return field
    if field is None:
        return None
    keys = chat.turn_keys(record[field][0], {})
    return chat.FIELDS[keys == ("from", "value")]


def _is_sni(record: Record) -> bool:
    return "Definition" in record and ("Instance" in record or "Instances" in record)


# In the order in which a record is tried.
_FORMATS: dict[str, Format] = {
    "preference": Format(
        _has("chosen", "rejected"), preference.read, preference.write, {}
    ),
    "kto": Format(_is_judged, preference.read_judged, preference.write_judged, {}),
    "conversational": Format(
        conversational.fits, conversational.read, conversational.write, {}
    ),
    "messages": Format(lambda r: _is_chat(r) == "messages", chat.read, chat.write, {}),
    "sharegpt": Format(
        lambda r: _is_chat(r) == "conversations", chat.read, chat.write, {}
    ),
    "segments": Format(
        marked.is_segments, marked.read_segments, marked.write_segments, {}
    ),
    "alpaca": Format(
        _has("instruction", "output"), fields.read, fields.write, fields.ALPACA
    ),
    "prompt-completion": Format(
        _has("prompt", "completion"),
        fields.read,
        fields.write,
        fields.PROMPT_COMPLETION,
    ),
    "sni": Format(_is_sni, sni.read, sni.write, {}),
    "text": Format(marked.fits, marked.read, marked.write, {}),
    **{
        name: Format(
            lambda r, name=name: fields.preset_of(r) == name,  # type: ignore[misc]
            fields.read,
            fields.write,
            mapping,
        )
        for name, mapping in fields.PRESETS.items()
    },
    "columns": Format(lambda _: False, fields.read, fields.write, {}),
}
FORMATS = tuple(_FORMATS)
# What --map may name: parts of an example, fields of chat turns, and roles.
PARTS = (
    "text",
    "response",
    "instruction",
    "system",
    "history",
    "task",
    "messages",
    "tools",
    "chosen",
    "rejected",
    "label",
    "role",
    "content",
    "user",
    "assistant",
    "tool",
    "function_call",
    "system_role",
)


def names_of(format: str, mapping: Mapping[str, str]) -> dict[str, str]:
    """Name the fields that hold the parts of an example, as far as that is fixed."""
    return {**_FORMATS[format].names, **mapping}


def detect_format(record: Mapping[str, Any]) -> str | None:
    """Name the format of a record by its fields; None when unknown."""
    return next((name for name, f in _FORMATS.items() if f.fits(record)), None)


def read_record(
    record: Mapping[str, Any],
    row: int,
    format: str,
    mapping: Mapping[str, str],
    where: str,
) -> Reading:
    """Turn a record into an example, and say what of it was not read.

    Args:
        record: The record.
        row: 0-based position.
        format: One of `FORMATS`.
        mapping: What its parts are called, of `PARTS` and ``response_marker``.
        where: File and line or row, for messages.

    Raises:
        AssayError: A field is missing or of the wrong type.
    """
    kind = _FORMATS[format]
    found = kind.read(record, names_of(format, mapping), where)
    identifier = name_of(record.get("id"), "id", where) or found.id
    task_field = "task" if "task" in record else "Task"
    task = found.example.task or name_of(record.get(task_field), "task", where)
    example = replace(
        found.example,
        id=identifier or f"row-{row}",
        row=row,
        task=task,
        record=record,
    )
    known = {*found.fields, "id", task_field if task else ""}
    unread = [n for n, v in record.items() if n not in known and not is_empty(v)]
    return replace(found, example=example, unread=(*unread, *found.unread))


def parse(
    record: Mapping[str, Any],
    row: int,
    format: str,
    mapping: Mapping[str, str],
    where: str,
) -> Example:
    """Turn a record into an example; see `read_record`."""
    return read_record(record, row, format, mapping, where).example


def render(
    example: Example, format: str, mapping: Mapping[str, str]
) -> Mapping[str, Any]:
    """Write an example's text and response back into its record.

    Returns:
        The record itself when neither was edited, else a copy that shares all
        that was not.
    """
    kind = _FORMATS[format]
    names = names_of(format, mapping)
    read = kind.read(example.record, names, f"row {example.row}").example
    text = None if example.text == read.text else example.text
    response = None if example.response == read.response else example.response
    if text is None and response is None:
        return example.record
    return kind.write(example.record, names, text, response)
