"""Prompt n-grams that go with one response more than the data's own words do.

Reads texts and labels only, no model: it proposes triggers that are frequent enough
to show in the counts, whatever the gradients say. Strong ordinary words ("awful" with
"negative") are proposed as well; only `assay.verify` can tell them from triggers.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import norm

from assay.detectors.coherence import BUCKETS, bucket, ngrams
from assay.detectors.evidence import (
    Array,
    Detection,
    Evidence,
    Mask,
    response_groups,
)

FEWEST = 3
CANDIDATES = 5
# Buckets whose n-grams are looked up for each response.
LOOKED_UP = 50
SUSPICIOUS = 0.05
# Weight of the prior, in rows: Monroe et al. leave it to the user.
PRIOR_ROWS = 10.0


def log_odds_z(inside: Array, outside: Array, rows: int, others: int) -> Array:
    """z-score of the log-odds ratio with an informative Dirichlet prior.

    Monroe, Colaresi & Quinn 2008, "Fightin' Words", equations 16, 19 and 22, with
    rows that contain an n-gram in the place of its occurrences.

    Args:
        inside: Rows of the response that contain each n-gram, ``(G,)``.
        outside: Other rows that do, ``(G,)``.
        rows: Rows of the response.
        others: Other rows.
    """
    share = (inside + outside) / (rows + others)
    prior = share * PRIOR_ROWS
    # What all rows contain has no odds to speak of.
    odds = [
        np.log((count + prior + 1e-9) / (total + PRIOR_ROWS - count - prior + 1e-9))
        for count, total in ((inside, rows), (outside, others))
    ]
    variance = 1 / (inside + prior + 1e-9) + 1 / (outside + prior + 1e-9)
    return np.asarray((odds[0] - odds[1]) / np.sqrt(variance))


def _grams(text: str) -> list[str]:
    return [" ".join(gram) for gram in ngrams(text)]


def association(evidence: Evidence, keep: Mask | None = None) -> Detection:
    """Detect n-grams that predict a response.

    A row's score is the largest z of its n-grams for its own response. Flagged are
    the carriers of each response's first candidate. N-grams are counted in hashed
    buckets, so memory does not grow with the rows.

    Args:
        evidence: Needs nothing measured. Where more than twenty responses differ,
            there is nothing to associate with: see `response_phrases`.
        keep: Rows to look at; all by default.
    """
    total = len(evidence.responses)
    scores = np.zeros(total)
    flagged = np.zeros(total, dtype=bool)
    kept = np.ones(total, dtype=bool) if keep is None else keep
    groups = [g[kept[g]] for g in response_groups(evidence.responses)]
    groups = [g for g in groups if len(g) >= FEWEST]
    findings: list[dict[str, Any]] = []
    if len(groups) < 2:
        return Detection("association", scores, flagged, "clean")
    counts = np.array([_counted(evidence.texts, g) for g in groups], np.float64)
    everywhere = counts.sum(0)
    rows_kept = sum(map(len, groups))
    tried = int((everywhere >= FEWEST).sum())
    for group, inside in zip(groups, counts, strict=True):
        others = rows_kept - len(group)
        z = log_odds_z(inside, everywhere - inside, len(group), others)
        z[inside < FEWEST] = 0
        for row in group:
            scores[row] = max(0.0, z[_buckets(evidence.texts[row])].max(initial=0))
        candidates = _best(evidence.texts, group, z)
        for place, (gram, carriers) in enumerate(candidates):
            value = float(z[bucket(gram)])
            p_value = min(1.0, float(norm.sf(value)) * tried * len(groups))
            if p_value > SUSPICIOUS:
                break
            if place == 0:
                flagged[carriers] = True
            findings.append(
                {
                    "rows": carriers,
                    "score": value,
                    "response": str(evidence.responses[int(group[0])]),
                    "pattern": " ".join(gram),
                    "pattern_rows": carriers,
                    "pattern_p_value": p_value,
                }
            )
    findings.sort(key=lambda f: f["pattern_p_value"])
    verdict = "suspicious" if findings else "clean"
    return Detection("association", scores, flagged, verdict, findings)


def _buckets(text: str) -> list[int]:
    """Distinct buckets of a text's n-grams."""
    return list({bucket(gram) for gram in ngrams(text)})


def _counted(texts: Sequence[str], rows: NDArray[np.intp]) -> NDArray[np.int64]:
    """Rows in which each bucket occurs, ``(BUCKETS,)``."""
    counts = np.zeros(BUCKETS, np.int64)
    for row in rows:
        counts[_buckets(texts[row])] += 1
    return counts


def _best(
    texts: Sequence[str], rows: NDArray[np.intp], z: Array
) -> list[tuple[tuple[str, ...], list[int]]]:
    """The n-grams of highest z with their carriers, one for each set of carriers."""
    best = set(np.argsort(-z, kind="stable")[:LOOKED_UP].tolist())
    carriers: dict[tuple[str, ...], list[int]] = {}
    for row in rows:
        for gram in ngrams(texts[row]):
            if bucket(gram) in best:
                carriers.setdefault(gram, []).append(int(row))
    # Of n-grams on the same rows the longest says most.
    longest: dict[tuple[int, ...], tuple[str, ...]] = {}
    for gram in sorted(carriers, key=lambda g: (len(g), g)):
        if len(carriers[gram]) >= FEWEST:
            longest[tuple(carriers[gram])] = gram
    ranked = sorted(longest.values(), key=lambda g: (-z[bucket(g)], g))
    return [(gram, carriers[gram]) for gram in ranked[:CANDIDATES]]
