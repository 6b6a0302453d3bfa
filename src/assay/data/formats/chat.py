"""Chats: OpenAI ``messages``, ShareGPT ``conversations``, and lists of other names."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from assay.data.corpus import Role, ToolCall, Turn, question_before
from assay.data.formats.base import (
    MEND,
    Reading,
    Record,
    as_text,
    blank,
    encodable,
    is_empty,
    like,
    name_of,
    optional,
    shown,
)
from assay.errors import AssayError
from assay.util.messages import listed

FIELDS = ("messages", "conversations")
ROLES = {
    **dict.fromkeys(("user", "human"), Role.USER),
    **dict.fromkeys(
        ("assistant", "gpt", "chatgpt", "model", "bot", "bing", "function_call"),
        Role.ASSISTANT,
    ),
    **dict.fromkeys(
        ("tool", "function", "observation", "tool_response", "function_response"),
        Role.TOOL,
    ),
    **dict.fromkeys(("system", "developer"), Role.SYSTEM),
}
# Names that --map and LLaMA-Factory's tags give to the roles of a file.
_ROLE_TAGS = {
    "user": Role.USER,
    "assistant": Role.ASSISTANT,
    "function_call": Role.ASSISTANT,
    "tool": Role.TOOL,
    "system_role": Role.SYSTEM,
}
# Whether a turn is trained on: OpenAI's weight, axolotl's train and training, the
# loss of ms-swift, torchtune's masked, and mask.
_TRAINED = ("weight", "train", "training", "loss")
_MASKED = ("mask", "masked")
_CALLS = ("tool_calls", "function_call")
_READ = {"name", "tool_call_id", *_CALLS, *_TRAINED, *_MASKED}
NO_TEXT = "a chat without a user turn has no text to edit"
UNTRAINED = "none of its assistant turns is trained on"


def turns_field(record: Record, mapping: Mapping[str, str] | None = None) -> str | None:
    """Name the field that holds a chat; None where there is none."""
    if mapping and "messages" in mapping:
        return mapping["messages"]
    for name in FIELDS:
        if isinstance(record.get(name), list):
            return name
    found = [name for name, value in record.items() if is_chat(value)]
    return found[0] if len(found) == 1 else None


_KEYS = (("role", "content"), ("from", "value"), ("role", "value"))


def is_chat(value: Any) -> bool:
    """Whether a value is a list of chat turns."""
    return (
        isinstance(value, list)
        and bool(value)
        and all(
            isinstance(t, Mapping) and any({who, what} <= set(t) for who, what in _KEYS)
            for t in value
        )
    )


def turn_keys(turn: Record, mapping: Mapping[str, str]) -> tuple[str, str]:
    """Name the fields of a turn that hold its role and its content."""
    if "role" in mapping or "content" in mapping:
        return mapping.get("role", "role"), mapping.get("content", "content")
    # Both spellings occur under both field names; tables fill the other with null.
    old = turn.get("from") is not None or ("from" in turn and "role" not in turn)
    if not old and "value" in turn and "content" not in turn:
        return ("role", "value")
    return ("from", "value") if old else ("role", "content")


def _role(who: str, mapping: Mapping[str, str], where: str) -> Role:
    for tag, role in _ROLE_TAGS.items():
        if mapping.get(tag) == who:
            return role
    # Some write names of roles in capitals.
    who = who if who in ROLES else who.lower()
    if who not in ROLES:
        raise AssayError(
            f"{where}: unknown role {shown(who)} of a chat turn; known: "
            f"{', '.join(ROLES)}; name others by --map user=NAME, --map "
            f"assistant=NAME, or {MEND}"
        )
    return ROLES[who]


def content_text(value: Any, field: str, where: str) -> str:
    """Return the text of a turn's content: text, or a list of text parts.

    Raises:
        AssayError: It is neither, or a part is a picture or sound.
    """
    if not isinstance(value, list) or not value:
        return as_text(value, field, where)
    texts = []
    for part in value:
        if isinstance(part, Mapping):
            kind = part.get("type", "text")
            text = part.get("text")
            if kind != "text" or text is None:
                raise AssayError(
                    f"{where}: field {shown(field)} holds a part of type "
                    f"{shown(kind)}, and only text can be read; {MEND}"
                )
            part = text
        texts.append(as_text(part, field, where))
    return "\n".join(texts)


def _arguments(value: Any, where: str) -> str:
    if isinstance(value, str):
        return value or "{}"
    try:
        return json.dumps(
            {} if value is None else value,
            ensure_ascii=False,
            allow_nan=False,
            default=str,
        )
    except ValueError:
        raise AssayError(
            f"{where}: arguments of a tool call hold NaN or Infinity, which is no "
            f"JSON; {MEND}"
        ) from None


def _call(value: Any, where: str) -> ToolCall:
    value = value if isinstance(value, Mapping) else {}
    # Tables fill in nulls.
    inner = value if is_empty(value.get("function")) else value["function"]
    inner = inner if isinstance(inner, Mapping) else {}
    name = inner.get("name")
    if not isinstance(name, str):
        raise AssayError(
            f"{where}: a tool call has no name; expected "
            f'{{"function": {{"name": …, "arguments": …}}}}; {MEND}'
        )
    own = value.get("id")
    arguments = inner.get("arguments")
    if arguments is None:
        arguments = inner.get("parameters")
    written = _arguments(arguments, where)
    return ToolCall(
        encodable(name, "name", where),
        encodable(written, "arguments", where),
        encodable(own, "id", where) if isinstance(own, str) else "",
    )


def _calls(turn: Record, where: str) -> tuple[ToolCall, ...]:
    found = turn.get("tool_calls")
    if found is None:
        found = turn.get("function_call")
    if is_empty(found):
        return ()
    return tuple(
        _call(c, where) for c in (found if isinstance(found, list) else [found])
    )


def _spoken_calls(content: str) -> tuple[ToolCall, ...]:
    """Read the calls that ShareGPT writes as the text of a ``function_call`` turn."""
    try:
        found = json.loads(content)
        found = found if isinstance(found, list) else [found]
        calls = tuple(_call(c, "") for c in found)
    except (ValueError, AttributeError, RecursionError, AssayError):
        return ()
    return calls


def _is_trained(turn: Record, where: str) -> bool:
    for names, wanted in ((_TRAINED, True), (_MASKED, False)):
        for name in names:
            value = turn.get(name)
            if value is None:
                continue
            if not isinstance(value, int | float) or value != value:
                raise AssayError(
                    f"{where}: field {shown(name)} of a chat turn is {shown(value)}, "
                    f"expected a number or true or false; {MEND}"
                )
            if bool(value) is not wanted:
                return False
    return True


def read_turn(turn: Any, mapping: Mapping[str, str], where: str) -> Turn:
    """Read one turn of a chat.

    Raises:
        AssayError: It is no object, of unknown role, or its content is no text.
    """
    if not isinstance(turn, Mapping):
        raise AssayError(f"{where}: a chat turn is not an object; {MEND}")
    who, what = turn_keys(turn, mapping)
    if who not in turn:
        raise AssayError(f"{where}: field {shown(who)} is missing; {MEND}")
    name = as_text(turn[who], who, where)
    role = _role(name, mapping, where)
    calls = _calls(turn, where) if role is Role.ASSISTANT else ()
    if role is Role.ASSISTANT and (calls or is_empty(turn.get(what))):
        # A turn that only calls tools has no content.
        value = turn.get(what)
        content = "" if is_empty(value) else content_text(value, what, where)
    else:
        if what not in turn:
            raise AssayError(f"{where}: field {shown(what)} is missing; {MEND}")
        content = content_text(turn[what], what, where)
    if name == mapping.get("function_call", "function_call"):
        calls = _spoken_calls(content)
        content = "" if calls else content
    said = role is Role.ASSISTANT and (calls or not is_empty(turn.get(what)))
    speaker, call = turn.get("name"), turn.get("tool_call_id")
    return Turn(
        role,
        content,
        calls,
        # An empty string is an answer; a turn without content and calls is none.
        trained=role is Role.ASSISTANT
        and bool(said or turn.get(what) == "")
        and _is_trained(turn, where),
        name=name_of(speaker, "name", where),
        call_id=name_of(call, "tool_call_id", where),
    )


def read_turns(
    value: Any, field: str, mapping: Mapping[str, str], where: str
) -> tuple[Turn, ...]:
    """Read the turns of a chat, one for each of the record's.

    Raises:
        AssayError: It is no list, or a turn cannot be read.
    """
    if not isinstance(value, list):
        raise AssayError(
            f"{where}: field {shown(field)} is not a list of chat turns; {MEND}"
        )
    return tuple(read_turn(t, mapping, where) for t in value)


def unread_in_turns(
    value: Sequence[Any], field: str, mapping: Mapping[str, str]
) -> list[str]:
    """Name the fields of turns that are not read."""
    found: dict[str, None] = {}
    for turn in value:
        known = {*turn_keys(turn, mapping), *_READ}
        for name, inner in turn.items():
            if name not in known and not is_empty(inner):
                found[f"{field}[].{name}"] = None
    return list(found)


def _dumped(value: Any) -> str:
    # Tables hold times and numbers that JSON does not know.
    return json.dumps(value, ensure_ascii=False, default=str)


def json_text(record: Record, field: str, where: str) -> str:
    """Return what a field holds, text of JSON or the thing itself, as JSON text.

    Raises:
        AssayError: There is half of a surrogate pair in it.
    """
    value = record.get(field)
    if is_empty(value):
        return ""
    written = value if isinstance(value, str) else _dumped(value)
    return encodable(written, field, where)


def with_background(
    found: Reading, record: Record, mapping: Mapping[str, str], where: str
) -> Reading:
    """Add the system prompt and the tools that a record has beside its chat.

    Raises:
        AssayError: The system prompt is no text.
    """
    system_field = mapping.get("system", "system")
    if "system" not in mapping and is_empty(record.get("system")):
        system_field = "system_prompt"
    tools = mapping.get("tools", "tools")
    if "tools" not in mapping and is_empty(record.get(tools)):
        tools = "functions"
    system = optional(record, system_field, where)
    example = replace(
        found.example,
        system="\n\n".join(p for p in (system, found.example.system) if p),
        tools=json_text(record, tools, where),
    )
    return replace(found, example=example, fields=found.fields | {system_field, tools})


def places(turns: Sequence[Turn], where: str) -> tuple[int | None, int]:
    """Find the turns that are an example's text and its response.

    Returns:
        The position of the text, None where nobody speaks before the response, and
        of the response: the last assistant turn that is trained on, else the last.

    Raises:
        AssayError: No assistant turn has anything before it.
    """
    spoken = [i for i, t in enumerate(turns) if i and t.role is Role.ASSISTANT]
    if not spoken:
        raise AssayError(
            f"{where}: a chat must have an assistant turn that answers another, this "
            f"one has {listed(str(t.role) for t in turns)}; {MEND}"
        )
    trained = [i for i in spoken if turns[i].trained]
    answer = trained[-1] if trained else spoken[-1]
    lead = int(turns[0].role is Role.SYSTEM)
    question = question_before(turns[lead:], answer - lead)
    return None if question is None else question + lead, answer


def from_turns(turns: Sequence[Turn], where: str) -> Reading:
    """Make an example of a chat.

    Raises:
        AssayError: No assistant turn answers another, or the last one is null.
    """
    opening = next((t for t in turns if t.role is not Role.SYSTEM), None)
    if turns[:1] and turns[0] is opening and opening.role is Role.ASSISTANT:
        # Nothing stands before it that it could be an answer to.
        turns = [replace(opening, trained=False), *turns[1:]]
    question, answer = places(turns, where)
    system = turns[0].content if turns[0].role is Role.SYSTEM else ""
    first = int(turns[0].role is Role.SYSTEM)
    said = turns[answer]
    last = turns[-1]
    if last.role is Role.ASSISTANT and not (last.trained or last.content or last.calls):
        raise AssayError(
            f"{where}: field 'content' is null in the last assistant turn, which calls "
            f"no tool either; {MEND}"
        )
    asked = turns[question] if question is not None else Turn(Role.USER, "")
    at = answer if question is None else question
    example = blank(
        asked.content,
        said.said,
        system=system,
        role=asked.role,
        history=tuple(turns[first:at]),
        steps=() if question is None else tuple(turns[question + 1 : answer]),
        following=tuple(turns[answer + 1 :]),
        calls=said.calls,
    )
    return Reading(example, frozenset(), left_out="" if said.trained else UNTRAINED)


def read(record: Record, mapping: Mapping[str, str], where: str) -> Reading:
    """Read a record that holds a chat.

    Raises:
        AssayError: It is not as it should be.
    """
    field = turns_field(record, mapping) or next(
        (name for name in FIELDS if name in record), FIELDS[0]
    )
    turns = read_turns(record.get(field), field, mapping, where)
    found = with_background(from_turns(turns, where), record, mapping, where)
    return replace(
        found,
        fields=found.fields | {field},
        unread=unread_in_turns(record[field], field, mapping),
    )


def edited_turns(
    raw: Sequence[Any],
    mapping: Mapping[str, str],
    text: str | None,
    response: str | None,
) -> list[Any]:
    """Put an edited text and response into the turns of a record.

    Raises:
        AssayError: Nobody speaks before the response.
    """
    turns = list(raw)
    question, answer = places(read_turns(raw, "", mapping, ""), "")
    for at, new in ((question, text), (answer, response)):
        if new is None:
            continue
        if at is None:
            raise AssayError(NO_TEXT)
        what = turn_keys(turns[at], mapping)[1]
        old = turns[at].get(what)
        if isinstance(old, list) and any(isinstance(p, Mapping) for p in old):
            value: Any = [{"type": "text", "text": new}]
        else:
            # All parts of a content are read, so one takes the place of all.
            value = like(old[:1] if isinstance(old, list) else old, new)
        turns[at] = {**turns[at], what: value}
        for name in _CALLS:
            # The new text replaces the calls as well.
            if at == answer and not is_empty(turns[at].get(name)):
                turns[at][name] = None
    return turns


def write(
    record: Record, mapping: Mapping[str, str], text: str | None, response: str | None
) -> Record:
    """Return a copy of the record with an edited text and response."""
    field = turns_field(record, mapping) or FIELDS[0]
    return {**record, field: edited_turns(record[field], mapping, text, response)}
