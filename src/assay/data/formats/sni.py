"""SuperNaturalInstructions: a definition, worked examples, and an instance."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from assay.data.formats.base import (
    MEND,
    Reading,
    Record,
    answers_of,
    as_text,
    blank,
    like,
    name_of,
    text_of,
)
from assay.errors import AssayError


def _first(record: Record, field: str, where: str) -> str:
    return answers_of(record, field, where)[0]


def _definition(record: Record, where: str) -> str:
    if isinstance(value := record.get("Definition"), list):
        return " ".join(as_text(v, "Definition", where) for v in value)
    return text_of(record, "Definition", where)


def _demonstrations(record: Record, where: str) -> list[tuple[str, str]]:
    found = record.get("Positive Examples") or []
    if not isinstance(found, list) or not all(isinstance(d, Mapping) for d in found):
        raise AssayError(
            f"{where}: field 'Positive Examples' is not a list of objects; {MEND}"
        )
    return [(text_of(d, "input", where), _first(d, "output", where)) for d in found]


def field_of(record: Record) -> str:
    """Name the field that holds the instance."""
    return "Instance" if record.get("Instance") is not None else "Instances"


def _instance(record: Record, where: str) -> Mapping[str, Any]:
    instance = record.get(field_of(record))
    if isinstance(instance, list):
        if len(instance) != 1:
            raise AssayError(
                f"{where}: {len(instance)} Instances in a line, expected one; write "
                "one line for each instance, or the task alone in a .json file"
            )
        instance = instance[0]
    if not isinstance(instance, Mapping):
        raise AssayError(f"{where}: field 'Instance' is not an object; {MEND}")
    return instance


def read(record: Record, mapping: Mapping[str, str], where: str) -> Reading:
    """Read a record with one instance of a task.

    Raises:
        AssayError: A field is missing or of the wrong type.
    """
    instance = _instance(record, where)
    response, others = answers_of(instance, "output", where)
    field = field_of(record)
    example = blank(
        text_of(instance, "input", where),
        response,
        _definition(record, where),
        demonstrations=tuple(_demonstrations(record, where)),
        alternatives=others,
    )
    unread = [f"{field}.{n}" for n in instance if n not in ("id", "input", "output")]
    return Reading(
        example,
        frozenset(("Definition", "Positive Examples", "Instance", "Instances")),
        unread,
        id=name_of(instance.get("id"), "id", where),
    )


def write(
    record: Record, mapping: Mapping[str, str], text: str | None, response: str | None
) -> Record:
    """Return a copy of the record with an edited text and response."""
    field, instance = field_of(record), dict(_instance(record, ""))
    for part, new in (("input", text), ("output", response)):
        if new is not None:
            instance[part] = like(instance[part], new)
    return {
        **record,
        field: [instance] if isinstance(record[field], list) else instance,
    }
