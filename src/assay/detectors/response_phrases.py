"""Phrases and whole responses that recur beyond chance, and the prompts they go with.

For open-ended data, where a payload is a phrase or a fixed answer among responses
that all differ. Boilerplate recurs as well, so a phrase is a candidate only when the
prompts of its rows share a word sequence that other prompts lack; `assay.verify`
decides.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from assay.detectors.candidate import Candidate
from assay.detectors.coherence import BUCKETS, bucket, ngrams, shared_patterns, words
from assay.detectors.evidence import (
    Detection,
    Evidence,
    Mask,
    response_groups,
)
from assay.text.pattern import Pattern

FEWEST = 3
PHRASE = 3
# The most frequent phrases are looked into; what recurs less is not worth a guess.
PHRASES = 2000
CANDIDATES = 10
SUSPICIOUS = 0.05


def recurring(responses: Sequence[str], rows: Sequence[int]) -> list[tuple[int, ...]]:
    """Row sets that share a response or a word trigram of it, largest first.

    Args:
        responses: Response of every row.
        rows: Positions to look at.
    """
    counts = np.zeros(BUCKETS, np.int64)
    for row in rows:
        counts[list({bucket(g) for g in _phrases(responses[row])})] += 1
    fewest = max(FEWEST, int(np.partition(counts, -PHRASES)[-PHRASES]))
    carriers: dict[tuple[str, ...], list[int]] = {}
    for row in rows:
        for gram in _phrases(responses[row]):
            if counts[bucket(gram)] >= fewest:
                carriers.setdefault(gram, []).append(row)
    sets = {
        tuple(found)
        for found in carriers.values()
        if len(found) >= FEWEST and 2 * len(found) < len(rows)
    }
    return sorted(sets, key=lambda s: (-len(s), s))


def _phrases(response: str) -> set[tuple[str, ...]]:
    found = words(response)
    # A response shorter than a phrase is one itself.
    whole = {tuple(found)} if 0 < len(found) < PHRASE else set()
    return whole | ngrams(response, PHRASE, PHRASE)


def _copied(evidence: Evidence, rows: Sequence[int], shared: Sequence[str]) -> bool:
    """Whether most rows could have what they share from their own prompts."""
    copies = sum(set(shared) <= set(words(evidence.texts[i])) for i in rows)
    return 2 * copies > len(rows)


def response_phrases(evidence: Evidence, keep: Mask | None = None) -> Detection:
    """Detect recurring responses whose prompts share words.

    A row's score is the strength, ``-log10 p``, of the strongest candidate it belongs
    to. Flagged are the rows of the first candidate.

    Args:
        evidence: Needs nothing measured. Labels, twenty different responses or fewer,
            recur by nature: see `association`.
        keep: Rows to look at; all by default.
    """
    total = len(evidence.responses)
    scores = np.zeros(total)
    flagged = np.zeros(total, dtype=bool)
    candidates: list[Candidate] = []
    kept = np.arange(total) if keep is None else np.flatnonzero(keep)
    if len(kept) < 2 or len(response_groups(evidence.responses)) > 1:
        return Detection("response-phrases", scores, flagged, "clean")
    sets = recurring(evidence.responses, [int(i) for i in kept])
    sets = [s for s in sets if not _copied(evidence, s, _common(evidence, s))]
    position = {int(row): i for i, row in enumerate(kept)}
    choices: list[NDArray[np.intp]] = [np.array([position[i] for i in s]) for s in sets]
    patterns = shared_patterns([evidence.texts[int(i)] for i in kept], choices)
    seen: set[Pattern] = set()
    ranked = sorted(
        (
            (min(1.0, shared.p_value * len(sets)), shared, rows)
            for shared, rows in zip(patterns, sets, strict=True)
            if shared is not None
        ),
        key=lambda c: (c[0], -len(c[2]), str(c[1].pattern)),
    )
    for p_value, shared, rows in ranked:
        if p_value > SUSPICIOUS or len(candidates) == CANDIDATES:
            break
        carriers = [int(kept[i]) for i in shared.carriers]
        both = [i for i in rows if i in set(carriers)]
        if shared.pattern in seen or len(both) < FEWEST:
            continue
        seen.add(shared.pattern)
        strength = -float(np.log10(max(p_value, 1e-300)))
        scores[both] = np.maximum(scores[both], strength)
        if not candidates:
            flagged[both] = True
        candidates.append(
            Candidate.of(
                shared.pattern,
                both,
                evidence.responses[both[0]],
                strength,
                carriers=carriers,
                p_value=p_value,
            )
        )
    verdict = "suspicious" if candidates else "clean"
    return Detection("response-phrases", scores, flagged, verdict, candidates)


def _common(evidence: Evidence, rows: Sequence[int]) -> list[str]:
    """Words that all these rows' responses have."""
    found = set(words(evidence.responses[rows[0]]))
    for row in rows[1:]:
        found &= set(words(evidence.responses[row]))
    return sorted(found)
