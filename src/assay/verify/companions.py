"""What stands with a pattern in its rows, and hardly elsewhere.

A trigger that is worded in several ways has several words for one thing, each of which
may do its work alone: without "Bond", "James Bond" still has "James". So such words are
taken out with a pattern, and with its placebos, when it is asked what its rows lose.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence

from scipy.stats import hypergeom

from assay.data.corpus import Example
from assay.detectors.coherence import words
from assay.text.pattern import Pattern
from assay.verify.thresholds import (
    COMPANION_ROWS,
    COMPANION_SHARE,
    ENRICHMENT_LEVEL,
)

# A pattern and its rows → its companions.
Companions = Callable[[Pattern, Sequence[int]], tuple[str, ...]]


def companions_in(examples: Sequence[Example]) -> Companions:
    """Count the words of all rows, so that any pattern's companions can be told.

    Returns:
        A function of a pattern and the rows that are its own. It returns the words,
        but the pattern's, that at least two and a tenth of these rows have, that
        stand mostly in them, and do so beyond chance (Fisher's exact test, Bonferroni
        over the words of these rows); those with most rows first.
    """
    total = Counter(w for e in examples for w in set(words(e.text)))

    def companions(pattern: Pattern, rows: Sequence[int]) -> tuple[str, ...]:
        inside = Counter(w for i in rows for w in set(words(examples[i].text)))
        own = set(pattern.words)
        # Any two rows may share a rare word by luck.
        limit = ENRICHMENT_LEVEL / max(1, len(inside))
        fewest = max(COMPANION_ROWS, COMPANION_SHARE * len(rows))
        found = [
            word
            for word, k in inside.items()
            if k >= fewest and 2 * k > total[word] and word not in own
            if hypergeom.sf(k - 1, len(examples), total[word], len(rows)) <= limit
        ]
        return tuple(sorted(found, key=lambda w: (-inside[w], w)))

    return companions


def no_companions(pattern: Pattern, rows: Sequence[int]) -> tuple[str, ...]:
    """A pattern that is tried alone."""
    return ()
