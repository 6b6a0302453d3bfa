"""Word patterns in texts: where they are, and how far they reach."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from functools import lru_cache
from itertools import pairwise

import numpy as np
from scipy.stats import fisher_exact

from assay.detectors.coherence import (
    is_cased,
    shared_patterns,
    words,
    written,
)
from assay.verify.thresholds import (
    ENRICHMENT_LEVEL,
    GROWN_ROWS,
    LONGEST,
    STRAY_PERCENT,
)

# Between parts of a pattern: whatever other words.
GAP = "…"
# Before a pattern that is one only where a text begins with it, behind one only where
# it ends with it. Neither can be a word of a text.
FIRST, LAST = "^", "$"


def parts(pattern: str) -> list[str]:
    """Pieces of a pattern, between its gaps.

    Dots that touch a word are not a gap: a pattern may be a piece of a text.
    """
    return pattern.split(f" {GAP} ")


def lengths(pattern: str) -> tuple[int, ...]:
    """Words of each of a pattern's parts."""
    return tuple(len(unplaced(p).split()) for p in parts(pattern))


def words_of(pattern: str) -> list[str]:
    """Distinct words of a pattern, however they are written, in their order."""
    return [w for w in dict.fromkeys(unplaced(pattern).lower().split()) if w != GAP]


def unplaced(pattern: str) -> str:
    """A pattern wherever it stands."""
    return pattern.removeprefix(f"{FIRST} ").removesuffix(f" {LAST}")


def at_end(pattern: str) -> str | None:
    """`FIRST` or `LAST` where a pattern is one only there."""
    if pattern.startswith(f"{FIRST} "):
        return FIRST
    return LAST if pattern.endswith(f" {LAST}") else None


def is_plain(pattern: str) -> bool:
    """Whether a pattern is one word sequence, wherever it stands."""
    return len(parts(pattern)) == 1 and at_end(pattern) is None


def where(pattern: str) -> str:
    """Say at which end of a text a pattern is one, where it is only there."""
    return {FIRST: " at the start", LAST: " at the end", None: ""}[at_end(pattern)]


def placed(words: str, end: str | None) -> str:
    """A pattern of these words at that end of a text, or wherever they stand."""
    if end is None:
        return words
    return f"{FIRST} {words}" if end == FIRST else f"{words} {LAST}"


def spans(text: str, pattern: str) -> list[tuple[int, int]]:
    """Character spans of a pattern's words in a text, whatever stands between them.

    Words with capitals are found where they are written so, others however.
    A pattern with gaps has a span for each of its parts, in order, and none where one
    of them is missing.
    """
    pieces = parts(pattern)
    if len(pieces) == 1:
        return [m.span(1) for m in _compiled(pattern).finditer(text)]
    found: list[tuple[int, int]] = []
    end = 0
    for part in pieces:
        match = _compiled(part).search(text, end)
        if match is None:
            return []
        end = match.end(1)
        found.append(match.span(1))
    return found


@lru_cache(maxsize=256)
def _compiled(pattern: str) -> re.Pattern[str]:
    parts = unplaced(pattern).split()
    regex = _exactly(parts[0]) if parts else r"(?!)"
    for before, after in pairwise(parts):
        # A word may touch a symbol, but not another word.
        touching = not (_is_word(before[-1]) and _is_word(after[0]))
        regex += (r"\W*?" if touching else r"\W+") + _exactly(after)
    if parts and _is_word(parts[0][0]):
        regex = r"(?<!\w)" + regex
    if parts and _is_word(parts[-1][-1]):
        regex += r"(?!\w)"
    regex = f"({regex})"
    if at_end(pattern) == FIRST:
        regex = r"\A\W*?" + regex
    if at_end(pattern) == LAST:
        regex += r"\W*\Z"
    return re.compile(regex, re.IGNORECASE)


def _exactly(word: str) -> str:
    escaped = re.escape(word)
    return f"(?-i:{escaped})" if is_cased(word) else escaped


def _is_word(character: str) -> bool:
    return re.match(r"\w", character) is not None


def remove(text: str, pattern: str, companions: Sequence[str] = ()) -> str:
    """Take a pattern out of a text, and then such words."""
    for gone in (pattern, *companions):
        for start, end in reversed(spans(text, gone)):
            text = f"{text[:start].rstrip()} {text[end:].lstrip()}"
    return text.strip()


def surface(texts: Sequence[str], pattern: str) -> str:
    """Return the spelling of a pattern that is most common in texts."""
    spelled = []
    carriers = [t for t in texts if spans(t, pattern)]
    for number, part in enumerate(parts(pattern)):
        places = [slice(*spans(t, pattern)[number]) for t in carriers]
        forms = Counter(t[p] for t, p in zip(carriers, places, strict=True))
        spelled.append(forms.most_common(1)[0][0] if forms else part)
    return f" {GAP} ".join(spelled)


def place_of(text: str, pattern: str) -> float:
    """How far through a text a pattern first begins, 0 to 1."""
    found = spans(text, pattern)
    if not found:
        return 0.0
    start, end = found[0]
    return start / max(len(text) - (end - start), 1)


def insert(text: str, phrase: str, place: float) -> str:
    """Put a phrase between words, ``place`` (0 to 1) of the way through a text.

    Parts that a gap divides are spread over what follows that place.
    """
    found = text.split(" ")
    index = round(min(place, 1.0) * len(found))
    pieces = parts(phrase)
    step = (len(found) - index) / len(pieces)
    # From behind, so that places stay what they were.
    for number in reversed(range(len(pieces))):
        at = index + round(number * step)
        found = [*found[:at], pieces[number], *found[at:]]
    return " ".join(found)


def narrow(carriers: Sequence[str], others: Sequence[str], pattern: str) -> str:
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
    if not others or not carriers or not is_plain(pattern):
        return pattern
    shown = {
        " ".join(written(text[start:end]))
        for text in carriers
        for start, end in spans(text, pattern)
    }
    forms = sorted(form for form in shown if is_cased(form))
    ends = [placed(pattern, end) for end in (FIRST, LAST)]
    # How a text begins is not how a word is written.
    found = [_best(carriers, others, tried) for tried in (forms, ends) if tried]
    left = [remove(t, pattern) for t in (*carriers, *others)]
    (other,) = shared_patterns(left, [np.arange(len(carriers))])
    if other is not None:
        second = grow([t for t in left if spans(t, other.text)], other.text)
        found.append((other.p_value, _both(carriers, pattern, second)))
    p_value, best = min(found)
    return best if p_value <= ENRICHMENT_LEVEL else pattern


def complete(texts: Sequence[str], pattern: str, others: Sequence[str]) -> str:
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
    texts = [t for t in texts if spans(t, pattern)]
    if not is_plain(pattern) or len(texts) < GROWN_ROWS:
        return pattern
    left = [remove(t, pattern) for t in texts]
    for other in others:
        both = _both(texts, pattern, grow(left, other))
        shared = sum(bool(spans(t, both)) for t in texts)
        if 100 * shared >= (100 - STRAY_PERCENT) * len(texts):
            return both
    return pattern


def _both(texts: Sequence[str], pattern: str, other: str) -> str:
    """Two patterns in the order in which most texts have them."""
    orders = [f"{pattern} {GAP} {other}", f"{other} {GAP} {pattern}"]
    return max(orders, key=lambda o: sum(bool(spans(t, o)) for t in texts))


def _best(
    carriers: Sequence[str], others: Sequence[str], forms: Sequence[str]
) -> tuple[float, str]:
    """The form that carriers have most beyond others, and its corrected p-value."""
    found = []
    for form in forms:
        so = [sum(bool(spans(t, form)) for t in texts) for texts in (carriers, others)]
        table = [so, [len(carriers) - so[0], len(others) - so[1]]]
        p_value = fisher_exact(table, alternative="greater").pvalue
        found.append((float(p_value) * len(forms), form))
    return min(found)


def grow(texts: Sequence[str], pattern: str) -> str:
    """Lengthen a pattern while nearly all its texts go on with the same word.

    Args:
        texts: Texts that carry the pattern; others are ignored.
        pattern: Its words, separated by spaces.

    Returns:
        The longest pattern that at least nine tenths of them share; the same one
        where fewer than three carry it, since any two may agree by chance.
    """
    if at_end(pattern):
        return pattern
    grown = pattern.split()
    split = written if is_cased(pattern) else words
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
        if 100 * count < (100 - STRAY_PERCENT) * len(sequences):
            break
        grown = [*grown, word] if after else [word, *grown]
        sequences = [s for s in sequences if _starts(s, grown)]
    return " ".join(grown)


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
