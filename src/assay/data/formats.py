"""Record formats: from a record to an example and back."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from typing import Any

from assay.data.corpus import Example
from assay.errors import AssayError

FORMATS = ("alpaca", "messages", "sharegpt", "prompt-completion", "sni", "columns")
_ROLES = {"human": "user", "gpt": "assistant", "user": "user", "system": "system"}


def detect_format(record: Mapping[str, Any]) -> str | None:
    """Name the format of a record by its fields; None when unknown."""
    if isinstance(record.get("messages"), list):
        return "messages"
    if isinstance(record.get("conversations"), list):
        return "sharegpt"
    if "instruction" in record and "output" in record:
        return "alpaca"
    if "prompt" in record and "completion" in record:
        return "prompt-completion"
    if "Definition" in record and ("Instance" in record or "Instances" in record):
        return "sni"
    return None


def _text(record: Mapping[str, Any], field: str, where: str) -> str:
    value = record.get(field)
    if isinstance(value, list) and len(value) == 1:
        value = value[0]
    if isinstance(value, int | float) and not isinstance(value, bool):
        value = str(value)
    if not isinstance(value, str):
        kind = "missing" if field not in record else f"a {type(value).__name__}"
        raise AssayError(f"{where}: field {field!r} is {kind}, expected text")
    return value


def _chat(
    turns: Sequence[Any], role: str, content: str, where: str
) -> list[tuple[str, str]]:
    found = []
    for turn in turns:
        if not isinstance(turn, Mapping):
            raise AssayError(f"{where}: a chat turn is not an object")
        who = _text(turn, role, where)
        found.append((_ROLES.get(who, who), _text(turn, content, where)))
    if len(found) < 2 or found[-1][0] != "assistant" or found[-2][0] != "user":
        raise AssayError(
            f"{where}: a chat must end with a user turn and an assistant turn"
        )
    return found


def _definition(value: Any) -> str:
    return " ".join(map(str, value)) if isinstance(value, list) else str(value)


def _sni_instance(record: Mapping[str, Any], where: str) -> Mapping[str, Any]:
    instance = record.get("Instance", record.get("Instances"))
    if isinstance(instance, list):
        if len(instance) != 1:
            raise AssayError(
                f"{where}: {len(instance)} Instances in a record, expected one; "
                "write one record for each instance"
            )
        instance = instance[0]
    if not isinstance(instance, Mapping):
        raise AssayError(f"{where}: field 'Instance' is not an object")
    return instance


def parse(
    record: Mapping[str, Any],
    row: int,
    format: str,
    mapping: Mapping[str, str],
    where: str,
) -> Example:
    """Turn a record into an example.

    Args:
        record: The record.
        row: 0-based position.
        format: One of `FORMATS`.
        mapping: For ``columns``: ``text`` and ``response``, optionally
            ``instruction`` and ``task``, to column names.
        where: File and line, for messages.

    Raises:
        AssayError: A field is missing or of the wrong type.
    """
    own = record.get("id")
    identifier = str(own) if isinstance(own, str | int) else f"row-{row}"
    task = str(record.get("task") or record.get("Task") or "")
    instruction = ""
    history: tuple[tuple[str, str], ...] = ()
    demonstrations: tuple[tuple[str, str], ...] = ()
    if format == "alpaca":
        instruction = _text(record, "instruction", where)
        text = _text(record, "input", where) if record.get("input") else ""
        if not text:
            instruction, text = "", instruction
        response = _text(record, "output", where)
    elif format in ("messages", "sharegpt"):
        field, role, content = _chat_fields(format)
        turns = record.get(field)
        if not isinstance(turns, list):
            raise AssayError(f"{where}: field {field!r} is not a list of chat turns")
        chat = _chat(turns, role, content, where)
        if chat[0][0] == "system":
            instruction = chat.pop(0)[1]
        (_, text), (_, response) = chat[-2:]
        history = tuple(chat[:-2])
    elif format == "prompt-completion":
        text = _text(record, "prompt", where)
        response = _text(record, "completion", where)
    elif format == "sni":
        if "Definition" not in record:
            raise AssayError(f"{where}: field 'Definition' is missing")
        instruction = _definition(record["Definition"])
        shown = record.get("Positive Examples") or []
        demonstrations = tuple(
            (_text(d, "input", where), _text(d, "output", where)) for d in shown
        )
        instance = _sni_instance(record, where)
        text = _text(instance, "input", where)
        response = _text(instance, "output", where)
        if own is None and isinstance(instance.get("id"), str):
            identifier = instance["id"]
    else:
        text = _text(record, mapping["text"], where)
        response = _text(record, mapping["response"], where)
        if "instruction" in mapping:
            instruction = _text(record, mapping["instruction"], where)
        if "task" in mapping:
            task = _text(record, mapping["task"], where)
    return Example(
        identifier,
        row,
        instruction,
        text,
        response,
        history,
        demonstrations,
        task,
        record,
    )


def _chat_fields(format: str) -> tuple[str, str, str]:
    if format == "messages":
        return "messages", "role", "content"
    return "conversations", "from", "value"


def render(example: Example, format: str, mapping: Mapping[str, str]) -> dict[str, Any]:
    """Write an example's text and response back into its record."""
    record: dict[str, Any] = copy.deepcopy(dict(example.record))
    text, response = example.text, example.response
    if format == "alpaca":
        record["input" if record.get("input") else "instruction"] = text
        record["output"] = response
    elif format in ("messages", "sharegpt"):
        field, _, content = _chat_fields(format)
        record[field][-2][content] = text
        record[field][-1][content] = response
    elif format == "prompt-completion":
        record["prompt"], record["completion"] = text, response
    elif format == "sni":
        instance = record.get("Instance", record.get("Instances"))
        instance = instance[0] if isinstance(instance, list) else instance
        assert isinstance(instance, dict)
        instance["input"] = text
        old = instance.get("output")
        instance["output"] = [response] if isinstance(old, list) else response
    else:
        record[mapping["text"]], record[mapping["response"]] = text, response
    return record
