"""What a pattern is measured against: others of its build, in about as many rows."""

from __future__ import annotations

import math
import random
from collections.abc import Sequence

import numpy as np

from assay.data.corpus import Example
from assay.detectors.coherence import ngrams, words
from assay.detectors.evidence import response_groups
from assay.verify.hypothesis import Hypothesis
from assay.verify.pattern import (
    FIRST,
    GAP,
    at_end,
    is_plain,
    lengths,
    placed,
    words_of,
)
from assay.verify.payload import Payload
from assay.verify.thresholds import GAPPED_PLACEBOS, PLACEBO_POOL, PLACEBOS, SURE


def placebos_for(level: float, hypotheses: int) -> int:
    """Placebos with which a pattern can reach a level among so many hypotheses."""
    return max(PLACEBOS, math.ceil(hypotheses / level))


def placebo_pool(
    examples: Sequence[Example],
    payload: Payload,
    pattern: str,
    placebos: int = PLACEBOS,
) -> dict[str, tuple[int, ...]]:
    """N-grams of rows that placebos for a pattern come from, with their carriers.

    They are as long as the pattern, and shorter where there are too few.
    """
    groups = response_groups([e.response for e in examples])
    groups.sort(key=lambda g: not payload.given(examples[g[0]]))
    named = pattern.split()
    # Long word sequences without a word of the pattern may be few.
    shapes = [" ".join(named[:n]) for n in range(len(named), 0, -1)]
    pool: dict[str, tuple[int, ...]] = {}
    for shape in shapes if is_plain(pattern) else [pattern]:
        found: dict[str, list[int]] = {}
        for rows in groups:
            more: dict[str, list[int]] = {}
            for row in rows:
                for gram in sorted(_like(shape, examples[row].text)):
                    if gram not in found:
                        more.setdefault(gram, []).append(int(row))
            found |= more
            # Rows with the same response come first; a small vocabulary needs the
            # others.
            if len(found) > PLACEBO_POOL * placebos:
                break
        pool |= {gram: tuple(carriers) for gram, carriers in found.items()}
    return pool


def _like(pattern: str, text: str) -> set[str]:
    """N-grams of a text that are built as the pattern is."""
    sizes, end = lengths(pattern), at_end(pattern)
    if end is not None:
        found = words(text)
        found = found[: sizes[0]] if end == FIRST else found[-sizes[0] :]
        return {placed(" ".join(found), end)} if len(found) == sizes[0] else set()
    if len(sizes) == 1:
        return {" ".join(g) for g in ngrams(text, sizes[0], sizes[0])}
    found = words(text)
    rng = random.Random(text)
    made = set()
    for _ in range(GAPPED_PLACEBOS):
        starts = sorted(rng.randrange(max(1, len(found))) for _ in sizes)
        pieces = [found[i : i + n] for i, n in zip(starts, sizes, strict=True)]
        apart = all(
            a + n <= b
            for a, n, b in zip(starts, sizes, [*starts[1:], len(found)], strict=True)
        )
        if apart and all(len(p) == n for p, n in zip(pieces, sizes, strict=True)):
            made.add(f" {GAP} ".join(map(" ".join, pieces)))
    return made


def placebo_patterns(
    hypothesis: Hypothesis, count: int, rng: random.Random
) -> list[str]:
    """Choose n-grams of the pattern's length whose frequency is nearest to its own.

    Where there are too few of that length, the next shorter ones follow; last come
    those in fewer rows than tell as surely as the pattern's do what most rows lose.
    Left out are those that share a word with it or stand mostly in its own rows:
    they would be parts of the same trigger.
    """
    words = set(words_of(hypothesis.pattern))
    own = set(hypothesis.carriers)

    def is_part(gram: str, rows: Sequence[int]) -> bool:
        return not words.isdisjoint(words_of(gram)) or 2 * len(own & set(rows)) > len(
            rows
        )

    # Shuffled before any is left out: another pattern breaks ties as this one does.
    pool = list(hypothesis.pool.items())
    rng.shuffle(pool)
    usable = [(gram, rows) for gram, rows in pool if not is_part(gram, rows)]
    size, sure = len(hypothesis.pattern.split()), min(SURE, len(own))
    usable.sort(
        key=lambda u: (
            len(u[1]) < sure,
            size - len(u[0].split()),
            abs(np.log(len(u[1]) / len(own))),
        )
    )
    chosen = [gram for gram, _ in usable[:count]]
    rng.shuffle(chosen)
    return chosen
