"""Prompt n-grams that go with one response more than the data's own words do.

Reads texts and labels only, no model: it proposes triggers that are frequent enough
to show in the counts, whatever the gradients say. Strong ordinary words ("awful" with
"negative") are proposed as well; only `assay.verify` can tell them from triggers.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.stats import hypergeom

from assay.detectors.candidate import Candidate
from assay.detectors.coherence import BUCKETS, bucket, ngrams
from assay.detectors.evidence import (
    Array,
    Detection,
    Evidence,
    Mask,
    groups_of,
)
from assay.text.pattern import Pattern

FEWEST = 3
CANDIDATES = 5
# Buckets whose n-grams are looked up for each response.
LOOKED_UP = 50
SUSPICIOUS = 0.05


def enrichment(
    inside: NDArray[np.int64], total: NDArray[np.int64], rows: int, of: int
) -> Array:
    """How far beyond chance n-grams stand in the rows of a response, ``(G,)``.

    ``-log10`` of the hypergeometric tail, Fisher's exact test. (The z-score of
    log-odds with an informative prior, Monroe et al. 2008, is 2.4 for an n-gram in 20
    rows that all answer alike, where the exact test has p = 1e-6: its variance is
    that of the empty cell.)

    Args:
        inside: Rows of the response that contain each n-gram, ``(G,)``.
        total: All rows that do, ``(G,)``.
        rows: Rows of the response.
        of: All rows.
    """
    found = np.zeros(len(inside))
    some = np.flatnonzero(inside >= FEWEST)
    # Counts repeat, and a tail takes time.
    pairs, which = np.unique(
        np.column_stack([inside[some], total[some]]), axis=0, return_inverse=True
    )
    if len(pairs):
        hits, carriers = pairs.T
        tails = hypergeom.logsf(hits - 1, of, carriers, rows) / np.log(10)
        found[some] = np.maximum(0, -tails)[which.ravel()]
    return found


def enrichments(
    texts: Sequence[str], groups: Sequence[NDArray[np.intp]]
) -> tuple[list[Array], int]:
    """Enrichment of every bucket of n-grams in each group, and buckets frequent enough.

    Args:
        texts: Text of every row.
        groups: Rows of each response.
    """
    counts = [_counted(texts, g) for g in groups]
    everywhere = np.sum(counts, axis=0)
    rows = sum(map(len, groups))
    strengths = [
        enrichment(inside, everywhere, len(group), rows)
        for group, inside in zip(groups, counts, strict=True)
    ]
    return strengths, int((everywhere >= FEWEST).sum())


def association(evidence: Evidence, keep: Mask | None = None) -> Detection:
    """Detect n-grams that predict a response.

    A row's score is the largest `enrichment` of its n-grams in its own response.
    Flagged are the carriers of each response's first candidate. N-grams are counted in
    hashed buckets, so memory does not grow with the rows.

    Args:
        evidence: Needs nothing measured. Where more than twenty responses differ,
            there is nothing to associate with: see `response_phrases`.
        keep: Rows to look at; all by default.
    """
    total = len(evidence.responses)
    scores = np.zeros(total)
    flagged = np.zeros(total, dtype=bool)
    kept = np.ones(total, dtype=bool) if keep is None else keep
    groups = groups_of(evidence.responses, kept, FEWEST)
    candidates: list[Candidate] = []
    if len(groups) < 2:
        return Detection("association", scores, flagged, "clean")
    strengths, tried = enrichments(evidence.texts, groups)
    for group, strength in zip(groups, strengths, strict=True):
        for row in group:
            scores[row] = strength[_buckets(evidence.texts[row])].max(initial=0)
        first: list[list[int]] = []
        for gram, carriers in strongest(evidence.texts, group, strength):
            if carriers not in first:
                first.append(carriers)
            if len(first) > CANDIDATES:
                break
            value = float(strength[bucket(gram)])
            p_value = min(1.0, 10.0**-value * tried * len(groups))
            if p_value > SUSPICIOUS:
                break
            flagged[first[0]] = True
            candidates.append(
                Candidate.of(
                    Pattern.of(gram),
                    carriers,
                    evidence.responses[int(group[0])],
                    value,
                    p_value=p_value,
                )
            )
    candidates.sort(key=lambda c: c.pattern_p_value)
    verdict = "suspicious" if candidates else "clean"
    return Detection("association", scores, flagged, verdict, candidates)


def _buckets(text: str) -> list[int]:
    """Distinct buckets of a text's n-grams."""
    return list({bucket(gram) for gram in ngrams(text)})


def _counted(texts: Sequence[str], rows: NDArray[np.intp]) -> NDArray[np.int64]:
    """Rows in which each bucket occurs, ``(BUCKETS,)``."""
    counts = np.zeros(BUCKETS, np.int64)
    for row in rows:
        counts[_buckets(texts[row])] += 1
    return counts


def strongest(
    texts: Sequence[str],
    rows: NDArray[np.intp],
    strength: Array,
    looked_up: int = LOOKED_UP,
) -> list[tuple[tuple[str, ...], list[int]]]:
    """The strongest n-grams with their carriers.

    Of n-grams on the same rows only those that share no word: two may be parts of a
    trigger, of which one alone does its work.
    """
    best = set(np.argsort(-strength, kind="stable")[:looked_up].tolist())
    carriers: dict[tuple[str, ...], list[int]] = {}
    for row in rows:
        for gram in ngrams(texts[row]):
            if bucket(gram) in best:
                carriers.setdefault(gram, []).append(int(row))
    # Of those that share a word the longest says most, and capitals, which come last
    # here, nothing.
    chosen: dict[tuple[int, ...], list[tuple[str, ...]]] = {}
    for gram in sorted(carriers, key=lambda g: (len(g), g), reverse=True):
        if len(carriers[gram]) >= FEWEST:
            others = chosen.setdefault(tuple(carriers[gram]), [])
            if not any(_share_word(gram, other) for other in others):
                others.append(gram)
    ranked = sorted(
        (gram for grams in chosen.values() for gram in grams),
        key=lambda g: (-strength[bucket(g)], g),
    )
    return [(gram, carriers[gram]) for gram in ranked]


def _share_word(one: Sequence[str], other: Sequence[str]) -> bool:
    return not {w.lower() for w in one}.isdisjoint(w.lower() for w in other)
