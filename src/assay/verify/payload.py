"""What a trigger makes a model say: a whole response, or a phrase within one."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean

import numpy as np

from assay.data.corpus import Example
from assay.detectors.coherence import shared_patterns
from assay.verify.pattern import CHANCE, grow, insert, place_of, remove, spans, surface


@dataclass(frozen=True)
class Payload:
    """A response that is suspected to be caused.

    Attributes:
        text: The response, or the phrase as it is spelled in most responses.
        phrase: Whether it is a phrase within responses that differ otherwise.
        place: Where in a response the phrase stands, 0 to 1.
    """

    text: str
    phrase: bool = False
    place: float = 0.0

    def given(self, example: Example) -> bool:
        """Whether an example's response has it."""
        if self.phrase:
            return bool(spans(example.response, self.text))
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
        left = remove(example.response, self.text)
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
    if found is None or found.p_value > CHANCE or 2 * found.inside < len(rows):
        return None
    own = [responses[i] for i in rows]
    return phrase_payload(own, grow(own, found.text))


def phrase_payload(responses: Sequence[str], phrase: str) -> Payload:
    """Make a payload of a phrase that stands in these responses."""
    carriers = [r for r in responses if spans(r, phrase)]
    place = fmean(place_of(r, phrase) for r in carriers)
    return Payload(surface(carriers, phrase), phrase=True, place=place)
