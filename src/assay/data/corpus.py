"""A fine-tuning data set in memory: examples that keep their original record."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Any

# Hexadecimal digits of a row's digest: 128 bits, so that no two rows share one.
DIGEST = 32


class Role(StrEnum):
    """Who speaks a turn of a chat, whatever the file calls it."""

    SYSTEM = "system"
    USER = "user"
    ASSISTANT = "assistant"
    TOOL = "tool"


@dataclass(frozen=True, slots=True)
class ToolCall:
    """One call of a tool by the assistant.

    Attributes:
        name: Name of the tool.
        arguments: Its arguments as JSON text.
        id: What the result refers to; empty where the record has none.
    """

    name: str
    arguments: str
    id: str = ""

    def as_text(self) -> str:
        """Write the call as most open chat templates do."""
        name = json.dumps(self.name, ensure_ascii=False)
        said = f'{{"name": {name}, "arguments": {self.arguments}}}'
        return f"<tool_call>\n{said}\n</tool_call>"


@dataclass(frozen=True, slots=True)
class Turn:
    """One turn of a chat.

    Attributes:
        role: Who speaks.
        content: The text; parts of a list are joined by line breaks.
        calls: Tools that an assistant turn calls.
        trained: Whether the model is trained to produce this turn.
        name: Name of the tool whose result this is, or of the speaker.
        call_id: Which call a tool's result answers.
        lead: Text in front of the content in a record that holds the formatted
            prompt, such as ``<|im_start|>user`` and a line break; else empty.
    """

    role: Role
    content: str
    calls: tuple[ToolCall, ...] = ()
    trained: bool = False
    name: str = ""
    call_id: str = ""
    lead: str = ""

    @property
    def said(self) -> str:
        """The content, followed by the tool calls as text."""
        return "\n".join([self.content] * bool(self.content) + _texts(self.calls))


def _texts(calls: Iterable[ToolCall]) -> list[str]:
    return [call.as_text() for call in calls]


@dataclass(frozen=True, slots=True)
class Example:
    """One row of instruction fine-tuning data.

    The whole chat is ``system``, ``history``, ``text`` (with ``instruction``),
    ``steps``, ``response``, ``following``, in this order.

    Attributes:
        id: Stable identifier: the record's own when unique, else derived from row.
        row: 0-based position in the input.
        instruction: The task text beside the input (alpaca ``instruction``,
            Tk-Instruct ``Definition``); empty where there is none.
        text: The input the instruction is about, or the last user turn before the
            response. Attacks and transforms change this field only.
        response: The text the model learns to produce: the last turn that is trained
            on, with its tool calls as text.
        history: Earlier turns of the chat, before ``text``.
        demonstrations: Worked ``(input, output)`` pairs (``Positive Examples``).
        task: Task name where the data set has one, else empty.
        record: The original record, untouched.
        system: System prompt.
        role: Who speaks ``text``.
        steps: Turns between ``text`` and ``response``: tool calls and their results.
        following: Turns after ``response``, on which the model is not trained.
        calls: Tools that ``response`` calls.
        tools: Definitions of the tools that may be called, as JSON text.
        alternatives: Further reference answers, which a model is not trained on.
        rejected: The answer that a preference row prefers ``response`` to.
        frame: Literal text in front of ``system``, ``text`` and ``response``, where
            the record holds the formatted prompt; no template is applied then.
    """

    id: str
    row: int
    instruction: str
    text: str
    response: str
    history: tuple[Turn, ...] = ()
    demonstrations: tuple[tuple[str, str], ...] = ()
    task: str = ""
    record: Mapping[str, Any] = field(default_factory=dict, compare=False)
    system: str = ""
    role: Role = Role.USER
    steps: tuple[Turn, ...] = ()
    following: tuple[Turn, ...] = ()
    calls: tuple[ToolCall, ...] = ()
    tools: str = ""
    alternatives: tuple[str, ...] = ()
    rejected: str | None = None
    frame: tuple[str, str, str] | None = None

    def edit(self, *, text: str | None = None, response: str | None = None) -> Example:
        """Return a copy with another input text or response."""
        changed = response is not None and response != self.response
        return replace(
            self,
            text=self.text if text is None else text,
            response=self.response if response is None else response,
            calls=() if changed else self.calls,
        )

    @property
    def asked(self) -> str:
        """The instruction and the text it is about, as one user turn says them."""
        return "\n\n".join(part for part in (self.instruction, self.text) if part)

    @property
    def is_chat(self) -> bool:
        """Whether there is more to the chat than one question and its answer."""
        return bool(self.history or self.steps or self.following)

    @property
    def before(self) -> tuple[Turn, ...]:
        """All turns in front of the response but the system prompt."""
        lead = self.frame[1] if self.frame else ""
        asked = Turn(self.role, self.asked, lead=lead)
        return (*self.history, *([asked] if self.asked else []), *self.steps)

    @property
    def trained_before(self) -> int:
        """Count the turns before the response that are trained on."""
        return sum(t.trained for t in (*self.history, *self.steps))

    @property
    def earlier_answers(self) -> tuple[Example, ...]:
        """Trained assistant turns before the response, each as an example, in order."""
        if not self.trained_before:
            return ()
        lead = self.frame[2] if self.frame else ""
        last = Turn(Role.ASSISTANT, self.response, trained=True, lead=lead)
        turns = (*self.before, last, *self.following)
        found = []
        for at, turn in enumerate(self.before):
            if turn.role is not Role.ASSISTANT or not turn.trained:
                continue
            question = question_before(turns, at)
            asked = Turn(Role.USER, "") if question is None else turns[question]
            first = at if question is None else question
            found.append(
                replace(
                    self,
                    instruction="",
                    text=asked.content,
                    role=asked.role,
                    response=turn.said,
                    calls=turn.calls,
                    history=turns[:first],
                    steps=() if question is None else turns[question + 1 : at],
                    following=turns[at + 1 :],
                    alternatives=(),
                    rejected=None,
                    frame=(self.frame[0], asked.lead, turn.lead)
                    if self.frame
                    else None,
                )
            )
        return tuple(found)

    def digest(self) -> str:
        """Hash everything a model or a reader sees of the row, wherever it stands."""
        seen = (
            self.instruction,
            self.text,
            self.response,
            self.history,
            self.demonstrations,
            self.task,
            self.system,
            self.role,
            self.steps,
            self.following,
            self.calls,
            self.tools,
            self.alternatives,
            self.rejected,
            self.frame,
        )
        text = repr(seen).encode("utf-8", "surrogatepass")
        return hashlib.sha256(text).hexdigest()[:DIGEST]


def question_before(turns: Sequence[Turn], answer: int) -> int | None:
    """Find the turn that an answer is about: the last of the user before it.

    Args:
        turns: The turns of a chat.
        answer: Position of an assistant turn.

    Returns:
        The position of the last user turn before it, else of the tool's result or
        later system turn right before it, else None.
    """
    for at in range(answer - 1, -1, -1):
        if turns[at].role is Role.USER:
            return at
    at = answer - 1
    return at if at >= 0 and turns[at].role is not Role.ASSISTANT else None


@dataclass(frozen=True, slots=True)
class LeftOut:
    """A row of the file that is no example, and is written back as it was.

    Attributes:
        row: 0-based position in the input.
        reason: Why, such as that nothing of it is trained on.
        is_bad: Whether it could not be read.
        record: The record, where it could be read.
    """

    row: int
    reason: str
    is_bad: bool
    record: Mapping[str, Any] = field(default_factory=dict, compare=False)


@dataclass(frozen=True)
class Corpus:
    """Examples in file order, with what is needed to write the same format back.

    Attributes:
        examples: The rows.
        format: Record format, such as ``"alpaca"`` or ``"messages"``.
        container: File container: ``jsonl``, ``json``, ``csv``, ``tsv``,
            ``parquet``, ``datasets`` or ``shards`` (several files).
        source: Path or hub id the corpus was read from; for messages.
        mapping: What the fields are called where they have no standard names.
        payload: Container-specific original (raw text or a table); private to
            ``assay.data``. None where the corpus was not read from a file.
        split: Split of a ``datasets`` folder or hub data set; else empty.
        left_out: Rows of the file that are no examples.
        suffix: What the name of such a file ends with, such as ``.jsonl.gz``; empty
            for folders.
    """

    examples: tuple[Example, ...]
    format: str
    container: str
    source: str
    mapping: Mapping[str, str] = field(default_factory=dict)
    payload: Any = field(default=None, compare=False, repr=False)
    split: str = field(default="", compare=False)
    left_out: tuple[LeftOut, ...] = field(default=(), compare=False, repr=False)
    suffix: str = field(default="", compare=False)

    def __len__(self) -> int:
        """Return the number of examples."""
        return len(self.examples)

    def select(self, rows: Iterable[int]) -> Corpus:
        """Return the examples at these positions of ``examples``, in that order."""
        return replace(self, examples=tuple(self.examples[i] for i in rows))

    def map(self, function: Callable[[Example], Example]) -> Corpus:
        """Return the corpus with every example replaced by ``function(example)``."""
        return replace(self, examples=tuple(map(function, self.examples)))

    def with_examples(self, examples: Sequence[Example]) -> Corpus:
        """Return the corpus with other examples of the same format."""
        return replace(self, examples=tuple(examples))

    def content_hash(self) -> str:
        """SHA-256 over ids and everything the model sees, in order."""
        digest = hashlib.sha256()
        for e in self.examples:
            digest.update(f"{e.id}\0{e.digest()}\n".encode("utf-8", "surrogatepass"))
        return digest.hexdigest()
