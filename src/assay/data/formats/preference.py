"""Preferences: two answers of which one is chosen (DPO), or one that is judged (KTO).

An example is the prompt with the answer that a model learns to give; the rejected
answer stands beside it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from assay.data.corpus import Role, Turn
from assay.data.formats import chat, conversational, fields, marked
from assay.data.formats.base import (
    MEND,
    Reading,
    Record,
    is_empty,
    like,
    shown,
    text_of,
    truth,
)
from assay.errors import AssayError

UNWANTED = "its label says that the answer is unwanted"


def _names(mapping: Mapping[str, str]) -> tuple[str, str, str]:
    return (
        mapping.get("text", mapping.get("prompt", "prompt")),
        mapping.get("chosen", "chosen"),
        mapping.get("rejected", "rejected"),
    )


def _turns(
    value: Any, field: str, mapping: Mapping[str, str], where: str
) -> list[Turn]:
    """Read an answer or a prompt that is a list of turns, or one turn."""
    return list(chat.read_turns(_listed(value), field, mapping, where))


def _listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def _like(old: Any, turns: list[Any]) -> Any:
    """Give turns the shape of what they replace: a list, or the turn alone."""
    return turns if isinstance(old, list) else turns[0]


def _is_turns(value: Any) -> bool:
    return isinstance(value, list | Mapping) and bool(value)


def _shared(first: Sequence[Turn], second: Sequence[Turn]) -> int:
    """Count the turns that two chats begin with alike, without their last ones."""
    pairs = list(zip(first[:-1], second[:-1], strict=False))
    return next((i for i, (a, b) in enumerate(pairs) if a != b), len(pairs))


def _prompt_turns(
    record: Record, mapping: Mapping[str, str], where: str
) -> tuple[str | None, list[Turn]]:
    """Read the turns of a prompt that is a chat, with the name of its field."""
    prompt, chosen, _ = _names(mapping)
    if _is_turns(record[chosen]) and any(
        t.role is Role.USER for t in _turns(record[chosen], chosen, mapping, where)
    ):
        # A whole chat, prompt included: what stands beside it says it once more.
        return None, []
    if prompt in record and _is_turns(record[prompt]):
        return prompt, _turns(record[prompt], prompt, mapping, where)
    field = chat.turns_field(
        {k: v for k, v in record.items() if k not in _names(mapping)}, mapping
    )
    if field is not None:
        return field, _turns(record[field], field, mapping, where)
    return None, []


def _said(turns: Sequence[Turn]) -> str:
    return "\n".join(t.said for t in turns)


def read(record: Record, mapping: Mapping[str, str], where: str) -> Reading:
    """Read a row with a chosen and a rejected answer.

    The prompt is text (``prompt``, or alpaca's fields), a chat, or what the chosen and
    the rejected chat begin with.

    Raises:
        AssayError: A field is missing or of the wrong type.
    """
    prompt, chosen, rejected = _names(mapping)
    for name in (chosen, rejected):
        if name not in record:
            raise AssayError(f"{where}: field {shown(name)} is missing; {MEND}")
    if not _is_turns(record[chosen]):
        other = text_of(record, rejected, where)
        field, turns = _prompt_turns(record, mapping, where)
        if _is_transcript(record, mapping):
            found = marked.read(record, {"text": chosen}, where)
            found = chat.with_background(found, record, mapping, where)
            other = marked.read(record, {"text": rejected}, where).example.response
        elif field is None:
            found = fields.read(record, _columns(record, mapping), where)
        else:
            text_of(record, chosen, where)
            answer = {"role": "assistant", "content": record[chosen]}
            found = chat.from_turns([*turns, chat.read_turn(answer, {}, where)], where)
            found = chat.with_background(found, record, mapping, where)
            found = replace(found, fields=found.fields | {field, chosen})
    else:
        field, turns = _prompt_turns(record, mapping, where)
        good = _turns(record[chosen], chosen, mapping, where)
        if not any(t.role is Role.ASSISTANT for t in good):
            raise AssayError(f"{where}: field {shown(chosen)} holds no answer; {MEND}")
        bad = (
            _turns(record[rejected], rejected, mapping, where)
            if _is_turns(record[rejected])
            else None
        )
        if bad is None:
            other = text_of(record, rejected, where)
        else:
            other = _said(bad[_shared(good, bad) :])
        if _prompt_apart(record, mapping, good):
            turns = [Turn(Role.USER, text_of(record, prompt, where))]
        if field is None and isinstance(record.get(prompt), str):
            # Many sets give the prompt as text beside two whole chats.
            field = prompt
        found = chat.from_turns([*turns, *good], where)
        found = chat.with_background(found, record, mapping, where)
        read = {chosen} | ({field} if field else set())
        found = replace(found, fields=found.fields | read)
    example = replace(found.example, rejected=other)
    return replace(found, example=example, fields=found.fields | {rejected})


def _is_transcript(record: Record, mapping: Mapping[str, str]) -> bool:
    """Whether both answers are whole chats as one text, as in Anthropic's hh-rlhf."""
    prompt, chosen, rejected = _names(mapping)
    return (
        is_empty(record.get(prompt))
        and is_empty(record.get("instruction"))
        and all(marked.has_markers(record.get(name)) for name in (chosen, rejected))
    )


def _prompt_apart(
    record: Record, mapping: Mapping[str, str], chosen: Sequence[Turn]
) -> bool:
    """Whether the prompt is text and the chosen chat only holds the answer."""
    alone = all(t.role is Role.ASSISTANT for t in chosen)
    return alone and isinstance(record.get(_names(mapping)[0]), str)


def _columns(record: Record, mapping: Mapping[str, str]) -> dict[str, str]:
    prompt, chosen, _ = _names(mapping)
    if is_empty(record.get(prompt)) and "instruction" in record:
        return {**fields.ALPACA, "response": chosen}
    if prompt not in record and "text" not in mapping and "question" in record:
        # As the pairs of OpenOrca have it.
        prompt = "question"
    optional = {p: mapping.get(p, p) for p in ("system", "history", "task", "tools")}
    given = {"instruction": mapping["instruction"]} if "instruction" in mapping else {}
    return {**optional, **given, "text": prompt, "response": chosen}


def write(
    record: Record, mapping: Mapping[str, str], text: str | None, response: str | None
) -> Record:
    """Return a copy of the record with an edited prompt and chosen answer."""
    prompt, chosen, rejected = _names(mapping)
    if not _is_turns(record[chosen]):
        field, turns = _prompt_turns(record, mapping, "")
        if _is_transcript(record, mapping):
            half = marked.write(record, {"text": chosen}, text, response)
            return marked.write(half, {"text": rejected}, text, None)
        if field is None:
            return fields.write(record, _columns(record, mapping), text, response)
        after: dict[str, Any] = dict(record)
        if response is not None:
            after[chosen] = like(record[chosen], response)
        if text is not None:
            turns = _edited_prompt(_listed(record[field]), mapping, text)
            after[field] = _like(record[field], turns)
        return after
    after = dict(record)
    field, turns = _prompt_turns(record, mapping, "")
    raw = _listed(record[chosen])
    if _prompt_apart(record, mapping, _turns(record[chosen], chosen, mapping, "")):
        who, what = chat.turn_keys(raw[0], mapping)
        asked = {who: mapping.get("user", "user"), what: record[prompt]}
        asked, *answer = chat.edited_turns([asked, *raw], mapping, text, response)
        after[prompt] = asked[what]
        after[chosen] = _like(record[chosen], answer)
        return after
    whole = [*(_listed(record[field]) if field else []), *raw]
    edited = chat.edited_turns(whole, mapping, text, response)
    if field:
        after[field] = _like(record[field], edited[: len(turns)])
    after[chosen] = _like(record[chosen], edited[len(turns) :])
    if field or text is None:
        return after
    if isinstance(record[rejected], list):
        good = _turns(record[chosen], chosen, mapping, "")
        bad = _turns(record[rejected], rejected, mapping, "")
        same = _shared(good, bad)
        begun = chat.edited_turns(whole, mapping, text, None)[:same]
        after[rejected] = [*begun, *record[rejected][same:]]
    if record.get(prompt) == read(record, mapping, "").example.text:
        # The prompt as text beside two whole chats.
        after[prompt] = text
    return after


def _edited_prompt(
    raw: Sequence[Any], mapping: Mapping[str, str], text: str
) -> list[Any]:
    who, what = chat.turn_keys(raw[0], mapping)
    stub = {who: mapping.get("assistant", "assistant"), what: "-"}
    return chat.edited_turns([*raw, stub], mapping, text, None)[:-1]


def read_judged(record: Record, mapping: Mapping[str, str], where: str) -> Reading:
    """Read a row of KTO: a prompt, an answer, and whether it is wanted.

    Raises:
        AssayError: A field is missing or of the wrong type.
    """
    label = label_field(record, mapping)
    wanted = truth(record.get(label))
    if wanted is None:
        raise AssayError(
            f"{where}: field {shown(label)} is {shown(record.get(label))}, expected "
            f"true or false; {MEND}"
        )
    names = _judged_names(record, mapping)
    found = _judged(record, mapping).read(record, names, where)
    return replace(
        found,
        fields=found.fields | {label},
        left_out=found.left_out if wanted else UNWANTED,
    )


def label_field(record: Record, mapping: Mapping[str, str]) -> str:
    """Name the field that says whether an answer is wanted."""
    own = "kto_tag" if "kto_tag" in record else "label"
    return mapping.get("label", own)


def _judged(record: Record, mapping: Mapping[str, str]) -> Any:
    if "messages" not in mapping and conversational.fits(record):
        return conversational
    return chat if chat.turns_field(record, mapping) else fields


def _judged_names(record: Record, mapping: Mapping[str, str]) -> Mapping[str, str]:
    if _judged(record, mapping) is fields:
        is_alpaca = "prompt" not in record and "instruction" in record
        usual = fields.ALPACA if is_alpaca else fields.PROMPT_COMPLETION
        return {**usual, **mapping}
    return mapping


def write_judged(
    record: Record, mapping: Mapping[str, str], text: str | None, response: str | None
) -> Record:
    """Return a copy of the record with an edited prompt and answer."""
    names = _judged_names(record, mapping)
    edited: Record = _judged(record, mapping).write(record, names, text, response)
    return edited
