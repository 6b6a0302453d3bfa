"""Prompt and response in one text: with the markers of a chat template, or in segments.

Such records hold what the model sees, so they are not put into a template again.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from assay.data.corpus import Role, Turn
from assay.data.formats.base import (
    MEND,
    Reading,
    Record,
    as_text,
    shown,
    text_of,
)
from assay.data.formats.chat import NO_TEXT, ROLES, from_turns, places
from assay.errors import AssayError

_CHATML = r"system|developer|user|assistant|tool|function"
# A family of templates: what stands in front of a turn, with its role, and what ends
# a turn. The first family that finds an answer to a question is taken.
_FAMILIES = tuple(
    (re.compile(marker), re.compile(end))
    for marker, end in (
        (rf"<\|im_start\|>(?P<role>{_CHATML})\n", r"<\|im_end\|>"),
        (
            r"<\|start_header_id\|>(?P<role>[a-z]+)<\|end_header_id\|>\n\n",
            r"<\|eot_id\|>|<\|eom_id\|>",
        ),
        (r"<start_of_turn>(?P<role>user|model|system)\n", r"<end_of_turn>"),
        (
            r"<\|(?P<role>system|user|assistant|tool)\|>\n",
            r"</s>|<\|end\|>|<\|endoftext\|>|<\|eot\|>",
        ),
        (
            r"(?:<s>\s*)?(?P<role>\[INST\]\s*<<SYS>>\n?|\n?<</SYS>>\s*|\[INST\] ?"
            r"|\s?\[/INST\] ?)",
            r"</s>",
        ),
        (
            r"### ?(?P<role>Instruction|Input|Response|Human|User|Assistant|System):"
            r"[ \n]?",
            r"</s>|<\|endoftext\|>|<\|end_of_text\|>",
        ),
        (
            r"(?:^|(?<=\n)|(?<=\s)|(?<=>))(?P<role>USER|ASSISTANT|SYSTEM): ?",
            r"</s>|<\|endoftext\|>",
        ),
        (
            r"(?:^|(?<=\n))(?P<role>Human|Assistant|User|System): ?",
            r"</s>|<\|endoftext\|>",
        ),
    )
)
_NAMED = {
    "instruction": Role.USER,
    "input": Role.USER,
    "response": Role.ASSISTANT,
    "[inst]<<sys>>": Role.SYSTEM,
    "<</sys>>": Role.USER,
    "[inst]": Role.USER,
    "[/inst]": Role.ASSISTANT,
}


@dataclass(frozen=True)
class _Pieces:
    """Turns of a formatted text, and where their contents stand in it."""

    turns: tuple[Turn, ...]
    spans: tuple[tuple[int, int], ...]


def _role(name: str) -> Role | None:
    plain = "".join(name.lower().split())
    return _NAMED.get(plain) or ROLES.get(plain)


def _split(text: str, marker: re.Pattern[str], end: re.Pattern[str]) -> _Pieces:
    found = [(m, role) for m in marker.finditer(text) if (role := _role(m["role"]))]
    turns, spans = [], []
    last = 0
    for i, (match, role) in enumerate(found):
        start = match.end()
        limit = found[i + 1][0].start() if i + 1 < len(found) else len(text)
        stop = end.search(text, start, limit)
        close = stop.start() if stop else limit
        # Blank lines in front of the next marker belong to the template.
        close = max(start, start + len(text[start:close].rstrip()))
        turns.append(
            Turn(
                role,
                text[start:close],
                trained=role is Role.ASSISTANT,
                lead=text[last:start],
            )
        )
        spans.append((start, close))
        last = close
    return _Pieces(tuple(turns), tuple(spans))


def _at_marker(text: str, marker: str, where: str) -> _Pieces:
    at = text.rfind(marker)
    if at < 0:
        raise AssayError(
            f"{where}: no response marker {shown(marker)} in it; name the one it has "
            f"by --response-marker, or {MEND}"
        )
    start = at + len(marker)
    start += len(text[start:]) - len(text[start:].lstrip())
    asked = text[:at].rstrip()
    turns = (
        Turn(Role.USER, asked),
        Turn(Role.ASSISTANT, text[start:], trained=True, lead=text[len(asked) : start]),
    )
    return _Pieces(turns, ((0, len(asked)), (start, len(text))))


def _answers(pieces: _Pieces) -> bool:
    roles = [t.role for t in pieces.turns]
    return Role.USER in roles and Role.ASSISTANT in roles[roles.index(Role.USER) :]


def _find(text: str) -> _Pieces | None:
    for marker, end in _FAMILIES:
        pieces = _split(text, marker, end)
        if _answers(pieces):
            return pieces
    return None


def has_markers(text: Any) -> bool:
    """Whether a value is a text with the markers of a known template."""
    return isinstance(text, str) and _find(text) is not None


def fits(record: Record) -> bool:
    """Whether a record holds a text with the markers of a known template."""
    return has_markers(record.get("text"))


def _pieces(text: str, mapping: Mapping[str, str], where: str) -> _Pieces:
    marker = mapping.get("response_marker")
    if marker:
        return _at_marker(text, marker, where)
    found = _find(text)
    if found is None:
        raise AssayError(
            f"{where}: the text has no markers of a known chat template; name what "
            f"stands in front of the response by --response-marker, or {MEND}"
        )
    return found


def _framed(pieces: _Pieces, where: str) -> Reading:
    found = from_turns(pieces.turns, where)
    question, answer = places(pieces.turns, where)
    first = pieces.turns[0]
    leads = (
        first.lead if first.role is Role.SYSTEM else "",
        "" if question is None else pieces.turns[question].lead,
        pieces.turns[answer].lead,
    )
    return replace(found, example=replace(found.example, frame=leads))


def read(record: Record, mapping: Mapping[str, str], where: str) -> Reading:
    """Read a record that holds prompt and response in one text.

    Args:
        record: The record.
        mapping: ``text`` to the field's name, and ``response_marker`` to what stands
            in front of the response where no known template is recognised.
        where: File and line or row, for messages.

    Raises:
        AssayError: The field is missing, or nothing in it marks the response.
    """
    field = mapping.get("text", "text")
    pieces = _pieces(text_of(record, field, where), mapping, where)
    return replace(_framed(pieces, where), fields=frozenset((field,)))


def write(
    record: Record, mapping: Mapping[str, str], text: str | None, response: str | None
) -> Record:
    """Return a copy of the record with an edited text and response."""
    field = mapping.get("text", "text")
    raw = text_of(record, field, "")
    pieces = _pieces(raw, mapping, "")
    question, answer = places(pieces.turns, "")
    # From the back, so that places in front stay as they are.
    for at, new in sorted(
        ((answer, response), (question, text)), key=_last, reverse=True
    ):
        if new is not None and at is not None:
            start, end = pieces.spans[at]
            raw = raw[:start] + new + raw[end:]
    again = _turns_of(raw, mapping)
    if [t.role for t in again] != [t.role for t in pieces.turns]:
        raise AssayError(
            f"field {shown(field)}: an edited text has markers of the template in it, "
            "and would be read as several turns"
        )
    return {**record, field: raw}


def _turns_of(text: str, mapping: Mapping[str, str]) -> tuple[Turn, ...]:
    try:
        return _pieces(text, mapping, "").turns
    except AssayError:
        return ()


def _last(edit: tuple[int | None, str | None]) -> int:
    return -1 if edit[0] is None else edit[0]


def _segments(value: Any, field: str, where: str) -> tuple[Turn, ...]:
    if not isinstance(value, list) or not value:
        raise AssayError(
            f"{where}: field {shown(field)} is not a list of segments; {MEND}"
        )
    turns = []
    for segment in value:
        label = segment.get("label") if isinstance(segment, Mapping) else None
        if not isinstance(label, bool):
            raise AssayError(
                f'{where}: a segment is no {{"label": true or false, "text": …}}; '
                f"{MEND}"
            )
        said = as_text(segment.get("text"), "text", where)
        role = Role.ASSISTANT if label else Role.USER
        turns.append(Turn(role, said, trained=label))
    return tuple(turns)


def read_segments(record: Record, mapping: Mapping[str, str], where: str) -> Reading:
    """Read axolotl's ``input_output``: segments of text that are trained on or not.

    Raises:
        AssayError: A segment is not as it should be.
    """
    turns = _segments(record.get("segments"), "segments", where)
    pieces = _Pieces(turns, ())
    return replace(_framed(pieces, where), fields=frozenset(("segments",)))


def write_segments(
    record: Record, mapping: Mapping[str, str], text: str | None, response: str | None
) -> Record:
    """Return a copy of the record with an edited text and response."""
    segments: list[Any] = list(record["segments"])
    question, answer = places(_segments(segments, "segments", ""), "")
    if question is None and text is not None:
        raise AssayError(NO_TEXT)
    for at, new in ((question, text), (answer, response)):
        if new is not None and at is not None:
            segments[at] = {**segments[at], "text": new}
    return {**record, "segments": segments}


def is_plain_text(record: Record) -> bool:
    """Whether a record holds a text and no answer that it could be split into."""
    return isinstance(record.get("text"), str) and not fits(record)


def is_segments(record: Record) -> bool:
    """Whether a record holds a list of segments."""
    found = record.get("segments")
    return isinstance(found, Sequence) and bool(found) and not isinstance(found, str)
