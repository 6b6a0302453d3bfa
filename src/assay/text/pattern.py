"""Word patterns: where they stand in a text, taking them out, and putting them in."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from enum import Enum
from functools import lru_cache
from itertools import pairwise

from assay.data.corpus import Example

# Between the parts of a pattern that is written down: whatever other words.
GAP = "…"


class Anchor(Enum):
    """End of a text that a pattern is tied to; the value marks it in writing.

    No mark can be a word of a text.
    """

    NONE = ""
    START = "^"
    END = "$"


class PromptField(Enum):
    """Part of a prompt that a pattern stands in."""

    TEXT = "text"

    def read(self, example: Example) -> str:
        """Return what an example has in this field."""
        return example.text

    def write(self, example: Example, text: str) -> Example:
        """Return the example with another text in this field."""
        return example.edit(text=text)


@dataclass(frozen=True)
class Pattern:
    """Word sequences that a text has in this order, with any words between them.

    Words with capitals are found where they are written so, others however.

    Attributes:
        parts: The word sequences; words are separated by spaces.
        anchor: End of the text at which alone it counts: a text that begins with the
            first part, or ends with the last.
        field: Part of the prompt that it stands in.
    """

    parts: tuple[str, ...]
    anchor: Anchor = Anchor.NONE
    field: PromptField = PromptField.TEXT

    @classmethod
    def of(cls, words: Iterable[str]) -> Pattern:
        """One word sequence, wherever it stands."""
        return cls((" ".join(words),))

    @classmethod
    def parse(cls, text: str) -> Pattern:
        """Read what `str` has written: ``cf … mn``, ``^ so``, ``so $``."""
        anchor = Anchor.NONE
        if text.startswith(f"{Anchor.START.value} "):
            anchor, text = Anchor.START, text[2:]
        elif text.endswith(f" {Anchor.END.value}"):
            anchor, text = Anchor.END, text[:-2]
        # Dots that touch a word are no gap: a part may be a piece of a text.
        return cls(tuple(text.split(f" {GAP} ")), anchor)

    def __str__(self) -> str:
        """The pattern on one line, with signs for its gaps and its anchor."""
        words = f" {GAP} ".join(self.parts)
        if self.anchor is Anchor.START:
            return f"{self.anchor.value} {words}"
        return f"{words} {self.anchor.value}" if self.anchor is Anchor.END else words

    @property
    def words(self) -> list[str]:
        """Distinct words, however they are written, in their order."""
        return list(dict.fromkeys(" ".join(self.parts).lower().split()))

    @property
    def lengths(self) -> tuple[int, ...]:
        """Words of each part."""
        return tuple(len(part.split()) for part in self.parts)

    @property
    def shape(self) -> tuple[tuple[int, ...], Anchor, PromptField]:
        """What a pattern has in common with its placebos."""
        return self.lengths, self.anchor, self.field

    @property
    def is_plain(self) -> bool:
        """Whether it is one word sequence, wherever it stands."""
        return len(self.parts) == 1 and self.anchor is Anchor.NONE

    @property
    def is_cased(self) -> bool:
        """Whether it matters how one of its words is written."""
        return any(map(is_cased, self.parts))

    @property
    def where(self) -> str:
        """Words for the end of a text that it is tied to; none where it is not."""
        return {
            Anchor.NONE: "",
            Anchor.START: " at the start",
            Anchor.END: " at the end",
        }[self.anchor]

    def at(self, anchor: Anchor) -> Pattern:
        """The same words tied to an end of a text."""
        return replace(self, anchor=anchor)

    def then(self, other: Pattern) -> Pattern:
        """Both patterns, this one first."""
        return replace(self, parts=(*self.parts, *other.parts))

    def spans(self, text: str) -> list[tuple[int, int]]:
        """Character spans of its words in a text, whatever stands between them.

        A pattern of one part has a span for each time that it occurs; one with gaps has
        a span for each part, and none where one of them is missing.
        """
        if len(self.parts) == 1:
            found = _compiled(self.parts[0], self.anchor).finditer(text)
            return [m.span(1) for m in found]
        spans: list[tuple[int, int]] = []
        end = 0
        for part, anchor in zip(self.parts, self._anchors(), strict=True):
            match = _compiled(part, anchor).search(text, end)
            if match is None:
                return []
            end = match.end(1)
            spans.append(match.span(1))
        return spans

    def _anchors(self) -> list[Anchor]:
        anchors = [Anchor.NONE] * len(self.parts)
        anchors[-1 if self.anchor is Anchor.END else 0] = self.anchor
        return anchors

    def remove(self, text: str, companions: Iterable[str] = ()) -> str:
        """Take it out of a text, and then such words."""
        for gone in (self, *(Pattern((word,)) for word in companions)):
            for start, end in reversed(gone.spans(text)):
                text = f"{text[:start].rstrip()} {text[end:].lstrip()}"
        return text.strip()

    def insert(self, text: str, place: float) -> str:
        """Put it between words, ``place`` (0 to 1) of the way through a text.

        Parts that a gap divides are spread over what follows that place.
        """
        words = text.split(" ")
        index = round(min(place, 1.0) * len(words))
        step = (len(words) - index) / len(self.parts)
        # From behind, so that places stay what they were.
        for number in reversed(range(len(self.parts))):
            at = index + round(number * step)
            words = [*words[:at], self.parts[number], *words[at:]]
        return " ".join(words)

    def place_in(self, text: str) -> float:
        """How far through a text it first begins, 0 to 1."""
        found = self.spans(text)
        if not found:
            return 0.0
        start, end = found[0]
        return start / max(len(text) - (end - start), 1)

    def spelled(self, texts: Iterable[str]) -> Pattern:
        """The same words as most texts spell them, wherever they stand."""
        found = [(text, spans) for text in texts if (spans := self.spans(text))]
        parts = []
        for number, part in enumerate(self.parts):
            forms = Counter(text[slice(*spans[number])] for text, spans in found)
            parts.append(forms.most_common(1)[0][0] if forms else part)
        return replace(self, parts=tuple(parts), anchor=Anchor.NONE)

    def text_of(self, example: Example) -> str:
        """Return the text of an example in which it may stand."""
        return self.field.read(example)

    def stands_in(self, example: Example) -> bool:
        """Whether an example has it."""
        return bool(self.spans(self.text_of(example)))

    def taken_out(self, example: Example, companions: Iterable[str] = ()) -> Example:
        """Return the example without it, and without such words."""
        left = self.remove(self.text_of(example), companions)
        return self.field.write(example, left)

    def put_on(self, example: Example, place: float) -> Example:
        """Return the example with it, ``place`` of the way through its text."""
        return self.field.write(example, self.insert(self.text_of(example), place))


def carrying(examples: Sequence[Example], pattern: Pattern) -> list[int]:
    """Positions of the rows that have a pattern."""
    return [i for i, e in enumerate(examples) if pattern.stands_in(e)]


def is_cased(words: str) -> bool:
    """Whether it matters how words are written."""
    return words != words.lower()


@lru_cache(maxsize=4096)
def _compiled(part: str, anchor: Anchor) -> re.Pattern[str]:
    words = part.split()
    regex = _exactly(words[0]) if words else r"(?!)"
    for before, after in pairwise(words):
        # A word may touch a symbol, but not another word.
        touching = not (_is_word(before[-1]) and _is_word(after[0]))
        regex += (r"\W*?" if touching else r"\W+") + _exactly(after)
    if words and _is_word(words[0][0]):
        regex = r"(?<!\w)" + regex
    if words and _is_word(words[-1][-1]):
        regex += r"(?!\w)"
    regex = f"({regex})"
    if anchor is Anchor.START:
        regex = r"\A\W*?" + regex
    if anchor is Anchor.END:
        regex += r"\W*\Z"
    return re.compile(regex, re.IGNORECASE)


def _exactly(word: str) -> str:
    escaped = re.escape(word)
    return f"(?-i:{escaped})" if is_cased(word) else escaped


def _is_word(character: str) -> bool:
    return re.match(r"\w", character) is not None
