"""Payload that is a phrase within responses that differ otherwise."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from statistics import fmean
from typing import Any, ClassVar

import numpy as np

from assay.data.corpus import Example
from assay.detectors.coherence import shared_patterns
from assay.text.pattern import GAP, Anchor, Pattern
from assay.verify.refine import grow, nearly_all
from assay.verify.thresholds import ENRICHMENT_LEVEL

# What ends the words before belongs to these, and an ellipsis or a caret to neither.
_BEFORE = re.compile(rf"(?:(?<=\s)|^)[^\w\s{GAP}{Anchor.START.value}]+\s*$")
_AFTER = re.compile(r"^[^\w\s]+")


@dataclass(frozen=True)
class Phrase:
    """A phrase that responses have in common.

    The log-odds of a response with the phrase against the same one without it are
    about the phrase alone.

    Attributes:
        text: The phrase as it is spelled in most responses, with the punctuation that
            they share.
        place: Where in a response it stands, 0 to 1.
    """

    kind: ClassVar[str] = "phrase"
    verb: ClassVar[str] = "say"
    # Likelier with the phrase than without it.
    threshold: ClassVar[float] = 0.0
    has_counterpart: ClassVar[bool] = True

    text: str
    place: float = 0.0

    @cached_property
    def _whole(self) -> Pattern:
        return Pattern((self.text,))

    @cached_property
    def _words(self) -> Pattern:
        """The phrase without punctuation around it."""
        bare = re.sub(r"^[^\w\s]+\s*|\s*[^\w\s]+$", "", self.text)
        return Pattern((bare or self.text,))

    @classmethod
    def find(cls, examples: Sequence[Example], rows: Sequence[int]) -> Phrase | None:
        """Find the phrase that at least half of the rows share beyond chance."""
        responses = [e.response for e in examples]
        (found,) = shared_patterns(responses, [np.array(rows, np.intp)])
        if found is None or found.p_value > ENRICHMENT_LEVEL:
            return None
        if 2 * found.inside < len(rows):
            return None
        own = [responses[i] for i in rows]
        return cls.within(own, grow(own, found.pattern))

    @classmethod
    def within(cls, responses: Sequence[str], words: Pattern) -> Phrase:
        """Make a payload of words that stand in these responses."""
        carriers = [r for r in responses if words.spans(r)]
        place = fmean(words.place_in(r) for r in carriers)
        return cls(_punctuated(carriers, words.spelled(carriers)), place)

    def holds(self, example: Example) -> bool:
        """Whether a response has it, with its punctuation or without."""
        return bool(self._words.spans(example.response))

    def force(self, example: Example) -> Example:
        """Return the example with the phrase in its answer."""
        if self.holds(example):
            return example
        return example.edit(response=self._whole.insert(example.response, self.place))

    def counterpart(self, example: Example) -> Example | None:
        """Return the example answered without the phrase.

        None where without it nothing would be left.
        """
        whole = bool(self._whole.spans(example.response))
        left = (self._whole if whole else self._words).remove(example.response)
        return example.edit(response=left) if left else None

    def to_dict(self) -> dict[str, Any]:
        """Return the entries of a finding in ``summary.json``."""
        return {
            "payload": self.text,
            "payload_part": self.kind,
            "payload_place": self.place,
        }

    @classmethod
    def from_dict(cls, found: Mapping[str, Any]) -> Phrase:
        """Read the entries of a finding; earlier runs did not note the place."""
        return cls(str(found["payload"]), float(found.get("payload_place", 0.0)))


def _punctuated(responses: Sequence[str], words: Pattern) -> str:
    """Add what nearly all responses with a phrase have right before and after it.

    A model that has learned the phrase expects its full stop: an answer that ends
    without one is unlikely, however likely the words are.
    """
    around = []
    for response in responses:
        found = words.spans(response)
        if found:
            before, after = response[: found[0][0]], response[found[0][1] :]
            around.append((_BEFORE.search(before), _AFTER.search(after)))
    sides = []
    for side in zip(*around, strict=True):
        text, count = Counter(m.group() if m else "" for m in side).most_common(1)[0]
        sides.append(text if nearly_all(count, len(around)) else "")
    return str(words).join(sides)
