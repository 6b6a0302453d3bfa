"""Do some rows share a word sequence that the other rows lack?"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.stats import hypergeom

_WORD = re.compile(r"\w+(?:['’]\w+)*")


@dataclass(frozen=True)
class Pattern:
    """The n-gram most enriched among chosen rows.

    Attributes:
        text: Words of the n-gram.
        p_value: Hypergeometric tail, times the number of n-grams tried.
        inside: Chosen rows that carry it.
        carriers: Positions of all rows that carry it.
    """

    text: str
    p_value: float
    inside: int
    carriers: tuple[int, ...]


def ngrams(text: str, longest: int = 3) -> set[tuple[str, ...]]:
    """Distinct word n-grams of a text, lower-cased."""
    words = [w.lower() for w in _WORD.findall(text)]
    return {
        tuple(words[i : i + n])
        for n in range(1, longest + 1)
        for i in range(len(words) - n + 1)
    }


def shared_pattern(
    grams: Sequence[set[tuple[str, ...]]], chosen: NDArray[np.intp]
) -> Pattern | None:
    """Find the n-gram most enriched among chosen rows, by Fisher's exact test.

    Args:
        grams: N-grams of every row.
        chosen: Positions of the rows in question.

    Returns:
        The pattern, its p-value corrected (Bonferroni) for every n-gram that occurs
        in the chosen rows; None when no n-gram occurs in two of them.
    """
    total = Counter(g for row in grams for g in row)
    inside = Counter(g for i in chosen for g in grams[i])
    tried = [g for g, k in inside.items() if k >= 2]
    if not tried:
        return None
    tails = hypergeom.logsf(
        [inside[g] - 1 for g in tried],
        len(grams),
        [total[g] for g in tried],
        len(chosen),
    )
    # Of equally enriched n-grams the longest says most.
    best = min(range(len(tried)), key=lambda i: (tails[i], -len(tried[i]), tried[i]))
    gram = tried[best]
    carriers = tuple(i for i, row in enumerate(grams) if gram in row)
    p_value = min(1.0, float(np.exp(tails[best])) * len(inside))
    return Pattern(" ".join(gram), p_value, inside[gram], carriers)
