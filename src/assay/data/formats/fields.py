"""One prompt and one answer in named fields: alpaca, prompt and completion, columns."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from assay.data.corpus import Role, Turn
from assay.data.formats import chat
from assay.data.formats.base import (
    MEND,
    Reading,
    Record,
    answers_of,
    as_text,
    blank,
    is_empty,
    like,
    optional,
    shown,
    text_of,
)
from assay.errors import AssayError

ALPACA = {
    "instruction": "instruction",
    "text": "input",
    "response": "output",
    "system": "system",
    "history": "history",
}
PROMPT_COMPLETION = {
    "text": "prompt",
    "response": "completion",
    "system": "system",
    "tools": "tools",
}
# Fields of other common data sets, by the names that axolotl gives them.
PRESETS: dict[str, dict[str, str]] = {
    "dolly": {
        "instruction": "instruction",
        "text": "context",
        "response": "response",
    },
    "gpteacher": {
        "instruction": "instruction",
        "text": "input",
        "response": "response",
    },
    "open-orca": {
        "system": "system_prompt",
        "text": "question",
        "response": "response",
    },
    "oasst": {"text": "INSTRUCTION", "response": "RESPONSE"},
    "context-qa": {
        "instruction": "question",
        "text": "article",
        "response": "answer",
    },
    "jeopardy": {"instruction": "category", "text": "question", "response": "answer"},
    "summarize": {"text": "article", "response": "summary"},
    "metharme": {"text": "prompt", "response": "generation"},
    "camel": {"text": "message_1", "response": "message_2"},
    "query-response": {
        "text": "query",
        "response": "response",
        "system": "system",
        "history": "history",
    },
    "prompt-response": {"text": "prompt", "response": "response", "system": "system"},
    "qa": {"text": "question", "response": "answer"},
    "input-output": {"text": "input", "response": "output", "system": "system"},
    "text-label": {"text": "text", "response": "label"},
}
# Fields of a preset that a record may lack.
_OPTIONAL = {"system", "history", "tools", "task"}
_PARTS = ("text", "response", "instruction", *sorted(_OPTIONAL))


def preset_of(record: Record) -> str | None:
    """Name the preset whose fields a record has; None where there is none."""
    for name, mapping in PRESETS.items():
        needed = [f for part, f in mapping.items() if part not in _OPTIONAL]
        if name == "gpteacher":
            needed.remove("input")
        if all(f in record for f in needed) and all(
            isinstance(record[mapping[p]], str)
            for p in ("text", "response")
            if mapping[p] in record
        ):
            return name
    return None


def _history(record: Record, field: str | None, where: str) -> tuple[Turn, ...]:
    if field is None or is_empty(record.get(field)):
        return ()
    value = record[field]
    pairs = value if isinstance(value, list) else [None]
    turns = []
    for pair in pairs:
        if not isinstance(pair, list) or len(pair) != 2:
            raise AssayError(
                f"{where}: field {shown(field)} is not a list of [prompt, response] "
                f"pairs; {MEND}"
            )
        asked, said = (as_text(part, field, where) for part in pair)
        turns += [Turn(Role.USER, asked), Turn(Role.ASSISTANT, said, trained=True)]
    return tuple(turns)


def read(record: Record, mapping: Mapping[str, str], where: str) -> Reading:
    """Read a record of named fields.

    Args:
        record: The record.
        mapping: ``text`` and ``response``, optionally ``instruction``, ``system``,
            ``history``, ``tools`` and ``task``, to the names of fields.
        where: File and line or row, for messages.

    Raises:
        AssayError: A field is missing or of the wrong type.
    """
    instruction = ""
    if "instruction" in mapping:
        text = optional(record, mapping["text"], where)
        take = optional if text else text_of
        instruction = take(record, mapping["instruction"], where)
        if not text:
            instruction, text = "", instruction
    else:
        text = text_of(record, mapping["text"], where)
    response, others = answers_of(record, mapping["response"], where)
    found = {
        part: optional(record, mapping[part], where)
        for part in ("system", "task")
        if part in mapping
    }
    example = blank(
        text,
        response,
        instruction,
        history=_history(record, mapping.get("history"), where),
        tools=chat.json_text(record, mapping.get("tools", ""), where),
        alternatives=others,
        **found,
    )
    return Reading(example, frozenset(mapping[p] for p in _PARTS if p in mapping))


def _column(record: Record, mapping: Mapping[str, str], part: str) -> str:
    if part == "text" and "instruction" in mapping:
        given = optional(record, mapping["text"], "")
        return mapping["text" if given else "instruction"]
    return mapping[part]


def write(
    record: Record, mapping: Mapping[str, str], text: str | None, response: str | None
) -> Record:
    """Return a copy of the record with an edited text and response."""
    after: dict[str, Any] = dict(record)
    for part, new in (("text", text), ("response", response)):
        if new is not None:
            column = _column(record, mapping, part)
            after[column] = like(after[column], new)
    return after
