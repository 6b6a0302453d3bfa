"""What is tested: a pattern that may cause a response, and rows to test it on."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass, field

from assay.data.corpus import Example
from assay.text.pattern import Pattern
from assay.verify.companions import Companions, no_companions
from assay.verify.payload import Payload
from assay.verify.thresholds import HOSTS


@dataclass(frozen=True)
class Hypothesis:
    """A pattern suspected to cause a response.

    Attributes:
        pattern: The pattern.
        payload: What it is suspected to cause.
        carriers: Positions of the rows that have both.
        pool: N-grams of all rows that placebos may be drawn from, with the positions
            of their carriers.
        companions: Tells the words that are taken out with it, and with placebos.
    """

    pattern: Pattern
    payload: Payload
    carriers: tuple[int, ...]
    pool: dict[Pattern, tuple[int, ...]] = field(repr=False, default_factory=dict)
    companions: Companions = field(repr=False, default=no_companions)


def hosts_for(
    examples: Sequence[Example],
    payload: Payload,
    pattern: Pattern | None,
    seed: int,
    count: int = HOSTS,
) -> list[Example]:
    """Draw rows with neither the payload nor the pattern.

    They are the same for every pattern of a payload, but that each row with the pattern
    gives its place to another. Without a pattern they are those that all would share.
    """
    rows = [e for e in examples if not payload.holds(e)]
    random.Random(f"{seed}:{payload.text}").shuffle(rows)
    if pattern is None:
        return rows[:count]
    others = (e for e in rows[count:] if not pattern.stands_in(e))
    drawn = [next(others, None) if pattern.stands_in(e) else e for e in rows[:count]]
    return [e for e in drawn if e is not None]


def drawn_from(
    rows: Sequence[int], examples: Sequence[Example], pattern: Pattern, seed: int
) -> list[Example]:
    """Draw some of a pattern's own rows, the same ones each time."""
    rng = random.Random(f"{seed}:{pattern}")
    return [examples[i] for i in rng.sample(rows, min(HOSTS, len(rows)))]


def inserted(
    pattern: Pattern,
    carriers: Sequence[Example],
    hosts: Sequence[Example],
    payload: Payload,
) -> list[Example]:
    """Put a pattern on every host as its carriers have it, answered by the payload."""
    texts = [pattern.text_of(e) for e in carriers]
    spelled = pattern.spelled(texts)
    places = [pattern.place_in(text) for text in texts]
    return [
        payload.force(spelled.put_on(e, places[i % len(places)]))
        for i, e in enumerate(hosts)
    ]
