"""How little of a trigger still does its work?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from assay.data.corpus import Example
from assay.text.pattern import Anchor, Pattern
from assay.verify.hypothesis import Hypothesis, drawn_from, hosts_for, inserted
from assay.verify.odds import LogProbs, odds_of
from assay.verify.thresholds import MINIMAL_SHARE


def minimal_pattern(
    hypothesis: Hypothesis,
    examples: Sequence[Example],
    log_probs: LogProbs,
    *,
    seed: int = 0,
) -> Pattern:
    """Shorten a pattern from both ends until an effect drops.

    A part does as much as the whole where, put on the same other rows, it raises the
    payload's log-probability as far in the mean, and, taken out of the same own rows,
    lowers it as far in the median. Words within the part are not tried: it stays a
    word sequence that can be looked for.

    Args:
        hypothesis: A verified pattern and its payload.
        examples: The training rows.
        log_probs: Log-probability of each example's response under the tuned model.
        seed: Seed of the draws of rows; those of `verify` where it is the same.

    Returns:
        The shortest such part; the pattern itself where every word is needed.
    """
    payload, whole = hypothesis.payload, hypothesis.pattern
    hosts = hosts_for(examples, payload, whole, seed)
    own = drawn_from(hypothesis.carriers, examples, whole, seed)
    odds = odds_of(payload, log_probs)
    also = hypothesis.companions(whole, hypothesis.carriers)
    bare, full = odds([payload.force(e) for e in hosts]), odds(own)

    def effects(part: Pattern) -> tuple[float, float]:
        asked = inserted(part, own, hosts, payload)
        asked += [part.taken_out(e, also) for e in own]
        put, taken = np.split(odds(asked), [len(hosts)])
        return float((put - bare).mean()), float(np.median(full - taken))

    enough = [MINIMAL_SHARE * effect for effect in effects(whole)]
    shortest = whole
    while True:
        kept: list[tuple[float, Pattern]] = []
        for part in _shorter(shortest):
            found = effects(part)
            if all(e >= least for e, least in zip(found, enough, strict=True)):
                kept.append((min(found), part))
        if not kept:
            return shortest
        # Alike ones in an order that does not change.
        shortest = max(kept, key=lambda k: (k[0], str(k[1])))[1]


def _shorter(pattern: Pattern) -> list[Pattern]:
    """A pattern without its place, or its first word, or its last."""
    if pattern.anchor is not Anchor.NONE:
        return [pattern.at(Anchor.NONE)]
    first, last = pattern.parts[0].split()[1:], pattern.parts[-1].split()[:-1]
    found = [
        [" ".join(first), *pattern.parts[1:]],
        [*pattern.parts[:-1], " ".join(last)],
    ]
    left = [tuple(filter(None, parts)) for parts in found]
    return [replace(pattern, parts=parts) for parts in left if parts]
