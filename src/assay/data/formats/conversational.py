"""TRL's conversational form: ``prompt`` and ``completion`` are lists of turns."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from assay.data.corpus import Turn
from assay.data.formats import chat
from assay.data.formats.base import MEND, Reading, Record, shown
from assay.errors import AssayError

PROMPT, COMPLETION = "prompt", "completion"


def fits(record: Record) -> bool:
    """Whether a record has both, and one of them is a list of turns."""
    found = [record.get(name) for name in (PROMPT, COMPLETION)]
    return all(f is not None for f in found) and any(chat.is_chat(f) for f in found)


def read(record: Record, mapping: Mapping[str, str], where: str) -> Reading:
    """Read a record whose prompt and completion are lists of turns.

    Only turns of the completion are trained on.

    Raises:
        AssayError: One of them is no list of turns.
    """
    asked, said = (
        _turns(record, name, mapping, where) for name in (PROMPT, COMPLETION)
    )
    found = chat.from_turns([*(replace(t, trained=False) for t in asked), *said], where)
    found = chat.with_background(found, record, mapping, where)
    unread = [
        name
        for field in (PROMPT, COMPLETION)
        for name in chat.unread_in_turns(record[field], field, mapping)
    ]
    return replace(found, fields=found.fields | {PROMPT, COMPLETION}, unread=unread)


def _turns(
    record: Record, field: str, mapping: Mapping[str, str], where: str
) -> tuple[Turn, ...]:
    if not chat.is_chat(record.get(field)):
        raise AssayError(
            f"{where}: field {shown(field)} is not a list of chat turns, as the other "
            f"one of prompt and completion is; {MEND}"
        )
    return chat.read_turns(record[field], field, mapping, where)


def write(
    record: Record, mapping: Mapping[str, str], text: str | None, response: str | None
) -> Record:
    """Return a copy of the record with an edited text and response."""
    turns = [*record[PROMPT], *record[COMPLETION]]
    edited = chat.edited_turns(turns, mapping, text, response)
    split = len(record[PROMPT])
    return {**record, PROMPT: edited[:split], COMPLETION: edited[split:]}
