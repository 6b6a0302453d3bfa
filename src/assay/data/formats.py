"""Record formats: from a record to an example and back."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from assay.data.corpus import Example
from assay.data.layout import listed
from assay.errors import AssayError

FORMATS = ("alpaca", "messages", "sharegpt", "prompt-completion", "sni", "columns")
_CHATS = {"messages": "messages", "sharegpt": "conversations"}
_ROLES = {
    **dict.fromkeys(("user", "human"), "user"),
    **dict.fromkeys(("assistant", "gpt", "model", "bot", "function_call"), "assistant"),
    **dict.fromkeys(("tool", "function", "observation"), "tool"),
    **dict.fromkeys(("system", "developer"), "system"),
}
_MEND = "mend or remove the row"


def detect_format(record: Mapping[str, Any]) -> str | None:
    """Name the format of a record by its fields; None when unknown."""
    for format, field in _CHATS.items():
        if isinstance(record.get(field), list):
            return format
    if "instruction" in record and "output" in record:
        return "alpaca"
    if "prompt" in record and "completion" in record:
        return "prompt-completion"
    if "Definition" in record and ("Instance" in record or "Instances" in record):
        return "sni"
    return None


def _encodable(text: str, field: str, where: str) -> str:
    # JSON can escape half of a surrogate pair; no tokenizer takes one.
    try:
        text.encode()
    except UnicodeEncodeError:
        raise AssayError(
            f"{where}: field {field!r} has half of a surrogate pair, which cannot be "
            f"encoded as UTF-8; {_MEND}"
        ) from None
    return text


def _as_text(value: Any, field: str, where: str) -> str:
    found = value
    if isinstance(value, list) and len(value) == 1:
        value = value[0]
    if isinstance(value, int | float) and not isinstance(value, bool):
        value = None if value != value else str(value)
    if not isinstance(value, str):
        kind = "null" if value is None else f"a {type(found).__name__}"
        raise AssayError(f"{where}: field {field!r} is {kind}, expected text; {_MEND}")
    return _encodable(value, field, where)


def _text(record: Mapping[str, Any], field: str, where: str) -> str:
    if field not in record:
        raise AssayError(f"{where}: field {field!r} is missing; {_MEND}")
    return _as_text(record[field], field, where)


def _optional(record: Mapping[str, Any], field: str, where: str) -> str:
    # Tables leave a cell out as null or, from pandas, as NaN.
    value = record.get(field)
    if value is None or value == [] or value != value:
        return ""
    return _as_text(value, field, where)


def _name(value: Any, field: str, where: str) -> str:
    known = isinstance(value, str | int) and not isinstance(value, bool)
    return _encodable(str(value), field, where) if known else ""


def _turn_keys(turn: Mapping[str, Any]) -> tuple[str, str]:
    # Both spellings occur under both field names.
    return ("from", "value") if "from" in turn else ("role", "content")


def _chat(turns: Sequence[Any], where: str) -> list[tuple[str, str]]:
    found = []
    for number, turn in enumerate(turns, start=1):
        if not isinstance(turn, Mapping):
            raise AssayError(f"{where}: a chat turn is not an object; {_MEND}")
        role, content = _turn_keys(turn)
        who = _text(turn, role, where)
        who = _ROLES.get(who, who)
        # An assistant turn that only calls tools has null content.
        calls = who == "assistant" and number < len(turns)
        found.append((who, (_optional if calls else _text)(turn, content, where)))
    last = [role for role, _ in found[-2:]]
    if last not in (["user", "assistant"], ["tool", "assistant"]):
        raise AssayError(
            f"{where}: a chat must end with a user (or tool) turn and an assistant "
            f"turn, this one ends with {listed(last)}; {_MEND}"
        )
    return found


def _first(record: Mapping[str, Any], field: str, where: str) -> str:
    # Of several reference answers a model is tuned on the first.
    value = record.get(field)
    if isinstance(value, list) and value:
        return _as_text(value[0], field, where)
    return _text(record, field, where)


def _definition(record: Mapping[str, Any], where: str) -> str:
    if isinstance(value := record.get("Definition"), list):
        return " ".join(_as_text(v, "Definition", where) for v in value)
    return _text(record, "Definition", where)


def _demonstrations(record: Mapping[str, Any], where: str) -> list[tuple[str, str]]:
    shown = record.get("Positive Examples") or []
    if not isinstance(shown, list) or not all(isinstance(d, Mapping) for d in shown):
        raise AssayError(
            f"{where}: field 'Positive Examples' is not a list of objects; {_MEND}"
        )
    return [(_text(d, "input", where), _first(d, "output", where)) for d in shown]


def _sni_field(record: Mapping[str, Any]) -> str:
    return "Instance" if record.get("Instance") is not None else "Instances"


def _sni_instance(record: Mapping[str, Any], where: str) -> Mapping[str, Any]:
    instance = record.get(_sni_field(record))
    if isinstance(instance, list):
        if len(instance) != 1:
            raise AssayError(
                f"{where}: {len(instance)} Instances in a record, expected one; "
                "write one record for each instance"
            )
        instance = instance[0]
    if not isinstance(instance, Mapping):
        raise AssayError(f"{where}: field 'Instance' is not an object; {_MEND}")
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
        where: File and line or row, for messages.

    Raises:
        AssayError: A field is missing or of the wrong type.
    """
    identifier = _name(record.get("id"), "id", where)
    task = _name(record.get("task", record.get("Task")), "task", where)
    instruction = ""
    history: Sequence[tuple[str, str]] = ()
    demonstrations: Sequence[tuple[str, str]] = ()
    if format == "alpaca":
        instruction = _text(record, "instruction", where)
        text = _optional(record, "input", where)
        if not text:
            instruction, text = "", instruction
        response = _text(record, "output", where)
    elif format in _CHATS:
        turns = record.get(_CHATS[format])
        if not isinstance(turns, list):
            raise AssayError(
                f"{where}: field {_CHATS[format]!r} is not a list of chat turns; "
                f"{_MEND}"
            )
        chat = _chat(turns, where)
        if chat[0][0] == "system":
            instruction = chat.pop(0)[1]
        (_, text), (_, response) = chat[-2:]
        history = chat[:-2]
    elif format == "prompt-completion":
        text = _text(record, "prompt", where)
        response = _text(record, "completion", where)
    elif format == "sni":
        instruction = _definition(record, where)
        demonstrations = _demonstrations(record, where)
        instance = _sni_instance(record, where)
        text = _text(instance, "input", where)
        response = _first(instance, "output", where)
        identifier = identifier or _name(instance.get("id"), "id", where)
    else:
        text = _text(record, mapping["text"], where)
        response = _text(record, mapping["response"], where)
        if "instruction" in mapping:
            instruction = _optional(record, mapping["instruction"], where)
        if "task" in mapping:
            task = _optional(record, mapping["task"], where)
    return Example(
        identifier or f"row-{row}",
        row,
        instruction,
        text,
        response,
        tuple(history),
        tuple(demonstrations),
        task,
        record,
    )


def _like(old: Any, new: str) -> Any:
    """Give an edited text the type of what it replaces, where it can have it."""
    if isinstance(old, list):
        return [_like(old[0], new)] if old else [new]
    if isinstance(old, int | float) and not isinstance(old, bool):
        try:
            number = type(old)(new)
        except ValueError:
            return new
        return number if str(number) == new else new
    return new


def render(
    example: Example, format: str, mapping: Mapping[str, str]
) -> Mapping[str, Any]:
    """Write an example's text and response back into its record.

    Returns:
        The record itself when neither was edited, else a copy that shares all
        that was not.
    """
    read = parse(example.record, example.row, format, mapping, f"row {example.row}")
    changed = []
    if example.text != read.text:
        changed.append(("text", example.text))
    if example.response != read.response:
        changed.append(("response", example.response))
    if not changed:
        return example.record
    record = dict(example.record)
    for part, new in changed:
        if format in _CHATS:
            turns = list(record[_CHATS[format]])
            at = -2 if part == "text" else -1
            content = _turn_keys(turns[at])[1]
            turns[at] = {**turns[at], content: _like(turns[at][content], new)}
            record[_CHATS[format]] = turns
        elif format == "sni":
            field, key = _sni_field(record), "input" if part == "text" else "output"
            instance = _sni_instance(record, "")
            edited = {**instance, key: _like(instance[key], new)}
            record[field] = [edited] if isinstance(record[field], list) else edited
        else:
            column = _column(record, format, mapping, part)
            record[column] = _like(record[column], new)
    return record


def _column(
    record: Mapping[str, Any], format: str, mapping: Mapping[str, str], part: str
) -> str:
    if format == "columns":
        return mapping[part]
    if format == "prompt-completion":
        return {"text": "prompt", "response": "completion"}[part]
    if part == "response":
        return "output"
    return "input" if _optional(record, "input", "") else "instruction"
