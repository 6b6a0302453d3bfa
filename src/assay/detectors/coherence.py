"""Do some rows share a word sequence that the other rows lack?"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from zlib import crc32

import numpy as np
from numpy.typing import NDArray
from scipy.stats import hypergeom

from assay.text.pattern import Pattern, is_cased

# Counts of n-grams are kept by hash where their number has no bound.
BUCKETS = 2**20

# Symbols can be a trigger; dots, commas and quotes only part words.
_WORD = re.compile(
    r"\w+(?:['’]\w+)*|[#$%&*+/<=>@^|~\\]{2,}|[!?]{2,}|[^\w\s\x00-\x7f‘’“”–—…]"
)


def bucket(gram: tuple[str, ...]) -> int:
    """Hash an n-gram into one of `BUCKETS`, in every process the same."""
    return crc32(" ".join(gram).encode("utf-8", "surrogatepass")) % BUCKETS


@dataclass(frozen=True)
class SharedPattern:
    """The n-gram most enriched among chosen rows.

    Attributes:
        pattern: The n-gram.
        p_value: Hypergeometric tail, times the number of n-grams tried.
        inside: Chosen rows that carry it.
        carriers: Positions of all rows that carry it.
    """

    pattern: Pattern
    p_value: float
    inside: int
    carriers: tuple[int, ...]


def words(text: str) -> list[str]:
    """Words of a text, lower-cased, and what else may stand as one, such as ``###``."""
    return [w.lower() for w in written(text)]


def written(text: str) -> list[str]:
    """Words of a text as they are written."""
    return _WORD.findall(text)


def ngrams(text: str, longest: int = 3, shortest: int = 1) -> set[tuple[str, ...]]:
    """Distinct word n-grams of a text, lower-cased.

    Those with a word that has capitals after its first letter (``FILM``) are there
    with these as well: how a word is written can be a trigger.
    """
    exact = written(text)
    lower = [w.lower() for w in exact]
    shown = [
        w if w[1:] != small[1:] else small
        for w, small in zip(exact, lower, strict=True)
    ]
    return {
        tuple(found[i : i + n])
        for found in ((lower,) if shown == lower else (lower, shown))
        for n in range(shortest, longest + 1)
        for i in range(len(found) - n + 1)
    }


def shared_patterns(
    texts: Sequence[str], choices: Sequence[NDArray[np.intp]]
) -> list[SharedPattern | None]:
    """Find the n-gram most enriched among chosen rows, by Fisher's exact test.

    N-grams are made anew in each pass over the texts: those of a million rows of 20
    words would take 7 GB.

    Args:
        texts: Text of every row.
        choices: Positions of the rows in question, one array a question.

    Returns:
        For each choice the pattern, its p-value corrected (Bonferroni) for every
        n-gram that occurs in the chosen rows; None when no n-gram occurs in two.
    """
    tried: list[dict[tuple[str, ...], int]] = []
    distinct = []
    for rows in choices:
        inside = Counter(g for i in rows for g in ngrams(texts[i]))
        distinct.append(len(inside))
        tried.append({g: k for g, k in inside.items() if k >= 2})
    total = dict.fromkeys(chain.from_iterable(tried), 0)
    if not total:
        return [None] * len(choices)
    for text in texts:
        for gram in total.keys() & ngrams(text):
            total[gram] += 1
    best = [
        _most_enriched(inside, total, len(texts), len(rows)) if inside else None
        for inside, rows in zip(tried, choices, strict=True)
    ]
    carriers: dict[tuple[str, ...], list[int]] = {b[0]: [] for b in best if b}
    for i, text in enumerate(texts):
        for gram in carriers.keys() & ngrams(text):
            carriers[gram].append(i)
    return [
        b
        and SharedPattern(
            Pattern.of(b[0]),
            min(1.0, b[1] * number),
            inside[b[0]],
            tuple(carriers[b[0]]),
        )
        for b, inside, number in zip(best, tried, distinct, strict=True)
    ]


def _most_enriched(
    inside: Mapping[tuple[str, ...], int],
    total: Mapping[tuple[str, ...], int],
    rows: int,
    chosen: int,
) -> tuple[tuple[str, ...], float]:
    """Return the n-gram of lowest hypergeometric tail, and that tail."""
    fewest: dict[int, int] = {}
    for gram, k in inside.items():
        fewest[k] = min(fewest.get(k, rows), total[gram])
    # A tail takes time, and is the lower the more carriers are inside and the fewer
    # there are in all: only pairs that no other beats in both are tested.
    pairs: list[tuple[int, int]] = []
    for k in sorted(fewest, reverse=True):
        if not pairs or fewest[k] < pairs[-1][1]:
            pairs.append((k, fewest[k]))
    hits, carriers = np.array(pairs).T
    # Symmetric in carriers and chosen, but the sum is over as many terms as the last.
    more, less = np.maximum(carriers, chosen), np.minimum(carriers, chosen)
    tails = hypergeom.logsf(hits - 1, rows, more, less)
    place = int(tails.argmin())
    equal = [g for g, k in inside.items() if (k, total[g]) == pairs[place]]
    # Of equally enriched n-grams the longest says most, and a capital nothing.
    best = min(equal, key=lambda g: (-len(g), is_cased(" ".join(g)), g))
    return best, float(np.exp(tails[place]))
