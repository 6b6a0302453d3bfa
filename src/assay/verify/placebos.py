"""What a pattern is measured against: others of its build, in about as many rows."""

from __future__ import annotations

import math
import random
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from assay.data.corpus import Example
from assay.detectors.coherence import ngrams, words
from assay.detectors.evidence import response_groups
from assay.text.pattern import GAP, Anchor, Pattern
from assay.verify.hypothesis import Hypothesis
from assay.verify.payload import Payload
from assay.verify.thresholds import GAPPED_PLACEBOS, PLACEBO_POOL, PLACEBOS, SURE


def placebos_for(level: float, hypotheses: int) -> int:
    """Placebos with which a pattern can reach a level among so many hypotheses."""
    return max(PLACEBOS, math.ceil(hypotheses / level))


def placebo_pool(
    examples: Sequence[Example],
    payload: Payload,
    pattern: Pattern,
    placebos: int = PLACEBOS,
) -> dict[Pattern, tuple[int, ...]]:
    """N-grams of rows that placebos for a pattern come from, with their carriers.

    They are as long as the pattern, and shorter where there are too few.
    """
    groups = response_groups([e.response for e in examples])
    groups.sort(key=lambda g: not payload.holds(examples[g[0]]))
    shapes = [pattern]
    if pattern.is_plain:
        # Long word sequences without a word of the pattern may be few.
        named = pattern.parts[0].split()
        shapes = [
            replace(pattern, parts=(" ".join(named[:n]),))
            for n in range(len(named), 0, -1)
        ]
    pool: dict[Pattern, tuple[int, ...]] = {}
    for shape in shapes:
        found: dict[tuple[str, ...], list[int]] = {}
        for rows in groups:
            more: dict[tuple[str, ...], list[int]] = {}
            for row in rows:
                made = _like(shape, shape.text_of(examples[row]))
                # The order of a set differs from one process to the next.
                for parts in sorted(made, key=f" {GAP} ".join):
                    if parts not in found:
                        more.setdefault(parts, []).append(int(row))
            found |= more
            # Rows with the same response come first; a small vocabulary needs the
            # others.
            if len(found) > PLACEBO_POOL * placebos:
                break
        for parts, carriers in found.items():
            pool[replace(shape, parts=parts)] = tuple(carriers)
    return pool


def _like(pattern: Pattern, text: str) -> set[tuple[str, ...]]:
    """Parts of patterns that a text has and that are built as this one is."""
    sizes, anchor = pattern.lengths, pattern.anchor
    if len(sizes) == 1 and anchor is Anchor.NONE:
        return {(" ".join(gram),) for gram in ngrams(text, sizes[0], sizes[0])}
    found = words(text)
    if anchor is not Anchor.NONE:
        found = found[: sizes[0]] if anchor is Anchor.START else found[-sizes[0] :]
        return {(" ".join(found),)} if len(found) == sizes[0] else set()
    rng = random.Random(text)
    made: set[tuple[str, ...]] = set()
    for _ in range(GAPPED_PLACEBOS):
        starts = sorted(rng.randrange(max(1, len(found))) for _ in sizes)
        pieces = [found[i : i + n] for i, n in zip(starts, sizes, strict=True)]
        apart = all(
            a + n <= b
            for a, n, b in zip(starts, sizes, [*starts[1:], len(found)], strict=True)
        )
        if apart and all(len(p) == n for p, n in zip(pieces, sizes, strict=True)):
            made.add(tuple(map(" ".join, pieces)))
    return made


def placebo_patterns(
    hypothesis: Hypothesis, count: int, rng: random.Random
) -> list[Pattern]:
    """Choose n-grams of the pattern's length whose frequency is nearest to its own.

    Where there are too few of that length, the next shorter ones follow; last come
    those in fewer rows than tell as surely as the pattern's do what most rows lose.
    Left out are those that share a word with it or stand mostly in its own rows:
    they would be parts of the same trigger.
    """
    named = set(hypothesis.pattern.words)
    own = set(hypothesis.carriers)

    def is_part(gram: Pattern, rows: Sequence[int]) -> bool:
        shares_word = not named.isdisjoint(gram.words)
        return shares_word or 2 * len(own & set(rows)) > len(rows)

    # Shuffled before any is left out: another pattern breaks ties as this one does.
    pool = list(hypothesis.pool.items())
    rng.shuffle(pool)
    usable = [(gram, rows) for gram, rows in pool if not is_part(gram, rows)]
    size, sure = sum(hypothesis.pattern.lengths), min(SURE, len(own))
    usable.sort(
        key=lambda u: (
            len(u[1]) < sure,
            size - sum(u[0].lengths),
            abs(np.log(len(u[1]) / len(own))),
        )
    )
    chosen = [gram for gram, _ in usable[:count]]
    rng.shuffle(chosen)
    return chosen
