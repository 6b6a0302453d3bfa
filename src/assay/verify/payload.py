"""What a trigger makes a model say: a whole response, or a phrase within one."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from statistics import fmean

import numpy as np

from assay.data.corpus import Example
from assay.detectors.coherence import shared_patterns
from assay.verify.pattern import (
    FIRST,
    GAP,
    grow,
    insert,
    place_of,
    remove,
    spans,
    surface,
)
from assay.verify.thresholds import ENRICHMENT_LEVEL, STRAY_PERCENT

# What ends the words before belongs to these.
_BEFORE = re.compile(rf"(?:(?<=\s)|^)[^\w\s{GAP}{FIRST}]+\s*$")
_AFTER = re.compile(r"^[^\w\s]+")


@dataclass(frozen=True)
class Payload:
    """A response that is suspected to be caused.

    Attributes:
        text: The response, or the phrase as it is spelled in most responses, with the
            punctuation that they share.
        phrase: Whether it is a phrase within responses that differ otherwise.
        place: Where in a response the phrase stands, 0 to 1.
    """

    text: str
    phrase: bool = False
    place: float = 0.0

    @cached_property
    def words(self) -> str:
        """The text without punctuation around it."""
        return re.sub(r"^[^\w\s]+\s*|\s*[^\w\s]+$", "", self.text) or self.text

    def given(self, example: Example) -> bool:
        """Whether an example's response has it, with its punctuation or without."""
        if self.phrase:
            return bool(spans(example.response, self.words))
        return example.response == self.text

    def forced(self, example: Example) -> Example:
        """Return the example answered with the payload."""
        if not self.phrase:
            return example.edit(response=self.text)
        if self.given(example):
            return example
        return example.edit(response=insert(example.response, self.text, self.place))

    def spared(self, example: Example) -> Example | None:
        """Return the example answered without the phrase.

        The log-odds of a response with the phrase against the same one without it
        are about the phrase alone. None for a whole response, which has no such
        counterpart, and where without the phrase nothing would be left.
        """
        if not self.phrase:
            return None
        whole = bool(spans(example.response, self.text))
        left = remove(example.response, self.text if whole else self.words)
        return example.edit(response=left) if left else None


def payload_of(examples: Sequence[Example], rows: Sequence[int]) -> Payload | None:
    """Find what at least half of the rows say: the whole response, else a phrase.

    Args:
        examples: All rows.
        rows: Positions of those that share a pattern.

    Returns:
        The payload; None when fewer than half share a response and no phrase of
        theirs is enriched beyond chance.
    """
    response, count = Counter(examples[i].response for i in rows).most_common(1)[0]
    if 2 * count >= len(rows) and count >= min(2, len(rows)):
        return Payload(response)
    responses = [e.response for e in examples]
    (found,) = shared_patterns(responses, [np.array(rows, np.intp)])
    if (
        found is None
        or found.p_value > ENRICHMENT_LEVEL
        or 2 * found.inside < len(rows)
    ):
        return None
    own = [responses[i] for i in rows]
    return phrase_payload(own, grow(own, found.text))


def phrase_payload(responses: Sequence[str], phrase: str) -> Payload:
    """Make a payload of a phrase that stands in these responses."""
    carriers = [r for r in responses if spans(r, phrase)]
    place = fmean(place_of(r, phrase) for r in carriers)
    text = _punctuated(carriers, surface(carriers, phrase))
    return Payload(text, phrase=True, place=place)


def _punctuated(responses: Sequence[str], phrase: str) -> str:
    """Add what nearly all responses with a phrase have right before and after it.

    A model that has learned the phrase expects its full stop: an answer that ends
    without one is unlikely, however likely the words are.
    """
    around = []
    for response in responses:
        found = spans(response, phrase)
        if found:
            before, after = response[: found[0][0]], response[found[0][1] :]
            around.append((_BEFORE.search(before), _AFTER.search(after)))
    sides = []
    for side in zip(*around, strict=True):
        text, count = Counter(m.group() if m else "" for m in side).most_common(1)[0]
        sides.append(text if 100 * count >= (100 - STRAY_PERCENT) * len(around) else "")
    return phrase.join(sides)
