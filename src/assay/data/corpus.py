"""A fine-tuning data set in memory: examples that keep their original record."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any


@dataclass(frozen=True, slots=True)
class Example:
    """One row of instruction fine-tuning data.

    Attributes:
        id: Stable identifier: the record's own when unique, else derived from row.
        row: 0-based position in the input.
        instruction: The task text (alpaca ``instruction``, Tk-Instruct
            ``Definition``, chat system message); empty where there is none.
        text: The input the instruction is about, or the whole prompt.
            Attacks and transforms change this field only.
        response: The text the model learns to produce.
        history: Earlier chat turns as ``(role, content)``, before ``text``.
        demonstrations: Worked ``(input, output)`` pairs (``Positive Examples``).
        task: Task name where the data set has one, else empty.
        record: The original record, untouched.
    """

    id: str
    row: int
    instruction: str
    text: str
    response: str
    history: tuple[tuple[str, str], ...] = ()
    demonstrations: tuple[tuple[str, str], ...] = ()
    task: str = ""
    record: Mapping[str, Any] = field(default_factory=dict, compare=False)

    def edit(self, *, text: str | None = None, response: str | None = None) -> Example:
        """Return a copy with another input text or response."""
        return replace(
            self,
            text=self.text if text is None else text,
            response=self.response if response is None else response,
        )


@dataclass(frozen=True)
class Corpus:
    """Examples in file order, with what is needed to write the same format back.

    Attributes:
        examples: The rows.
        format: Record format, such as ``"alpaca"`` or ``"messages"``.
        container: File container: ``jsonl``, ``json``, ``csv``, ``tsv``,
            ``parquet`` or ``datasets``.
        source: Path or hub id the corpus was read from; for messages.
        mapping: Column mapping of the ``columns`` format.
        payload: Container-specific original (raw text or a table); private to
            ``assay.data``. None where the corpus was not read from a file.
        split: Split of a ``datasets`` folder or hub data set; else empty.
    """

    examples: tuple[Example, ...]
    format: str
    container: str
    source: str
    mapping: Mapping[str, str] = field(default_factory=dict)
    payload: Any = field(default=None, compare=False, repr=False)
    split: str = field(default="", compare=False)

    def __len__(self) -> int:
        """Return the number of rows."""
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
            shown = (
                e.id,
                e.instruction,
                e.text,
                e.response,
                e.history,
                e.demonstrations,
                e.task,
            )
            digest.update(repr(shown).encode("utf-8", "surrogatepass"))
        return digest.hexdigest()
