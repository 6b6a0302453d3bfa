"""What is tested: a pattern that may cause a response, and rows to test it on."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass, field

from assay.data.corpus import Example
from assay.verify.companions import Companions, no_companions
from assay.verify.pattern import insert, place_of, spans, surface
from assay.verify.payload import Payload
from assay.verify.thresholds import HOSTS


@dataclass(frozen=True)
class Hypothesis:
    """A pattern suspected to cause a response.

    Attributes:
        pattern: Its words, separated by spaces; lower-case, but where it matters how
            one is written.
        payload: What it is suspected to cause.
        carriers: Positions of the rows that have both.
        pool: N-grams of all rows that placebos may be drawn from, with the positions
            of their carriers.
        companions: Tells the words that are taken out with it, and with placebos.
    """

    pattern: str
    payload: Payload
    carriers: tuple[int, ...]
    pool: dict[str, tuple[int, ...]] = field(repr=False, default_factory=dict)
    companions: Companions = field(repr=False, default=no_companions)


def hosts_for(
    examples: Sequence[Example],
    payload: Payload,
    pattern: str,
    seed: int,
    count: int = HOSTS,
) -> list[Example]:
    """Draw rows with neither the payload nor the pattern.

    They are the same for every pattern of a payload, but that each row with the pattern
    gives its place to another.
    """
    rows = [e for e in examples if not payload.given(e)]
    random.Random(f"{seed}:{payload.text}").shuffle(rows)
    others = (e for e in rows[count:] if not spans(e.text, pattern))
    drawn = [next(others, None) if spans(e.text, pattern) else e for e in rows[:count]]
    return [e for e in drawn if e is not None]


def drawn_from(
    rows: Sequence[int], examples: Sequence[Example], pattern: str, seed: int
) -> list[Example]:
    """Draw some of a pattern's own rows, the same ones each time."""
    rng = random.Random(f"{seed}:{pattern}")
    return [examples[i] for i in rng.sample(rows, min(HOSTS, len(rows)))]


def inserted(
    pattern: str,
    carriers: Sequence[Example],
    hosts: Sequence[Example],
    payload: Payload,
) -> list[Example]:
    """Put a pattern on every host as its carriers have it, answered by the payload."""
    spelled = surface([e.text for e in carriers], pattern)
    places = [place_of(e.text, pattern) for e in carriers]
    return [
        payload.forced(e.edit(text=insert(e.text, spelled, places[i % len(places)])))
        for i, e in enumerate(hosts)
    ]
