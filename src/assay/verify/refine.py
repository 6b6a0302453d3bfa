"""How far a pattern reaches: lengthening, narrowing and completing it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
from scipy.stats import fisher_exact

from assay.detectors.coherence import shared_patterns, words, written
from assay.text.pattern import Anchor, Pattern, is_cased
from assay.verify.thresholds import (
    ENRICHMENT_LEVEL,
    GROWN_ROWS,
    LONGEST,
    STRAY_PERCENT,
)


def narrow(carriers: Sequence[str], others: Sequence[str], pattern: Pattern) -> Pattern:
    """Complete a pattern by how it is written, by its place, or by another part.

    Args:
        carriers: Texts with the pattern and the payload.
        others: Texts with the pattern that are answered otherwise.
        pattern: A pattern without gaps.

    Returns:
        What tells carriers from others best, where it does so beyond chance: the
        pattern as carriers write it, at the end of a text where they have it, or with
        an n-gram that they have elsewhere. The same one where nothing does.
    """
    if not others or not carriers or not pattern.is_plain:
        return pattern
    shown = {
        " ".join(written(text[start:end]))
        for text in carriers
        for start, end in pattern.spans(text)
    }
    cased = sorted(filter(is_cased, shown))
    forms = [replace(pattern, parts=(form,)) for form in cased]
    ends = [pattern.at(end) for end in (Anchor.START, Anchor.END)]
    # How a text begins is not how a word is written.
    found = [_best(carriers, others, tried) for tried in (forms, ends) if tried]
    left = [pattern.remove(t) for t in (*carriers, *others)]
    (other,) = shared_patterns(left, [np.arange(len(carriers))])
    if other is not None:
        second = grow([t for t in left if other.pattern.spans(t)], other.pattern)
        found.append((other.p_value, _both(carriers, pattern, second)))
    p_value, best = min(found, key=_rank)
    return best if p_value <= ENRICHMENT_LEVEL else pattern


def complete(texts: Sequence[str], pattern: Pattern, others: Sequence[str]) -> Pattern:
    """Add another part that nearly all texts have elsewhere.

    Args:
        texts: Texts that carry the pattern; others are ignored.
        pattern: A pattern; one with gaps or a place is whole already.
        others: Words that stand with it beyond chance.

    Returns:
        The pattern with the first of them, lengthened, that nine tenths of its texts
        have before it, or after it; the same one where there is none, or where fewer
        than three carry the pattern.
    """
    texts = [t for t in texts if pattern.spans(t)]
    if not pattern.is_plain or len(texts) < GROWN_ROWS:
        return pattern
    left = [pattern.remove(t) for t in texts]
    for other in others:
        both = _both(texts, pattern, grow(left, Pattern((other,))))
        if nearly_all(_carriers(texts, both), len(texts)):
            return both
    return pattern


def nearly_all(count: int, of: int) -> bool:
    """Whether so few of the rows are missing that they may be left out of account."""
    return 100 * count >= (100 - STRAY_PERCENT) * of


def _carriers(texts: Sequence[str], pattern: Pattern) -> int:
    return sum(bool(pattern.spans(t)) for t in texts)


def _both(texts: Sequence[str], pattern: Pattern, other: Pattern) -> Pattern:
    """Two patterns in the order in which most texts have them."""
    orders = [pattern.then(other), other.then(pattern)]
    return max(orders, key=lambda order: _carriers(texts, order))


def _rank(found: tuple[float, Pattern]) -> tuple[float, str]:
    """Order by p-value, and alike ones in a way that does not change."""
    return found[0], str(found[1])


def _best(
    carriers: Sequence[str], others: Sequence[str], forms: Sequence[Pattern]
) -> tuple[float, Pattern]:
    """The form that carriers have most beyond others, and its corrected p-value."""
    found = []
    for form in forms:
        so = [_carriers(texts, form) for texts in (carriers, others)]
        table = [so, [len(carriers) - so[0], len(others) - so[1]]]
        p_value = fisher_exact(table, alternative="greater").pvalue
        found.append((float(p_value) * len(forms), form))
    return min(found, key=_rank)


def grow(texts: Sequence[str], pattern: Pattern) -> Pattern:
    """Lengthen a pattern while nearly all its texts go on with the same word.

    Args:
        texts: Texts that carry the pattern; others are ignored.
        pattern: One with gaps or a place is whole already.

    Returns:
        The longest pattern that at least nine tenths of them share; the same one
        where fewer than three carry it, since any two may agree by chance.
    """
    if not pattern.is_plain:
        return pattern
    grown = pattern.parts[0].split()
    split: Callable[[str], list[str]] = written if pattern.is_cased else words
    sequences = [s for s in map(split, texts) if _starts(s, grown)]
    if len(sequences) < GROWN_ROWS:
        return pattern
    while len(grown) < LONGEST:
        found = []
        for after in (True, False):
            follow: Counter[str] = Counter()
            for sequence in sequences:
                start = _starts(sequence, grown)
                place = start[0] + len(grown) if after else start[0] - 1
                if start and 0 <= place < len(sequence):
                    follow[sequence[place].lower()] += 1
            if follow:
                word, count = follow.most_common(1)[0]
                found.append((count, after, word))
        if not found:
            break
        count, after, word = max(found)
        if not nearly_all(count, len(sequences)):
            break
        grown = [*grown, word] if after else [word, *grown]
        sequences = [s for s in sequences if _starts(s, grown)]
    return replace(pattern, parts=(" ".join(grown),))


def _starts(sequence: Sequence[str], pattern: Sequence[str]) -> list[int]:
    """Places of a sequence where a pattern begins; its capitals matter."""
    first, length = pattern[0], len(pattern)
    return [
        i
        for i in range(len(sequence) - length + 1)
        # Asked of every place of many texts: most differ in their first word.
        if first in (sequence[i], sequence[i].lower())
        and all(
            wanted in (word, word.lower())
            for word, wanted in zip(sequence[i : i + length], pattern, strict=True)
        )
    ]
