"""Groups of rows that lie far out on some measure and share words.

Clean data has rows that lie far out too, so a group is a candidate only when its rows
share a word sequence that the others lack.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from assay.detectors.candidate import Candidate
from assay.detectors.coherence import SharedPattern, shared_patterns
from assay.detectors.evidence import (
    Array,
    Detection,
    Evidence,
    Mask,
    groups_of,
)
from assay.text.pattern import Pattern

SMALLEST_GROUP = 20
TAIL = 4.0
SUSPICIOUS = 0.05
FAINT = 0.05
CANDIDATES = 5

# Rows of one response to their robust z-scores, (n, c); no column when there is nothing
# to measure them by.
Outlying = Callable[[NDArray[np.intp]], Array]


@dataclass(frozen=True)
class Tail:
    """One end of a measure, and what its rows share."""

    z: Array
    rows: NDArray[np.intp]
    shared: SharedPattern
    p_value: float


def coherent_tails(z: Array, texts: Sequence[str]) -> list[Tail]:
    """Tails whose rows share words, most coherent first, one a pattern.

    Both ends of every column are looked at, and p-values corrected for that.

    Args:
        z: Robust z-scores, ``(n, c)``.
        texts: Text of each row.
    """
    found: dict[Pattern, Tail] = {}
    columns = [c for side in (z, -z) for c in side.T]
    tails = [np.flatnonzero(c > TAIL) for c in columns]
    fit = [i for i, rows in enumerate(tails) if 3 <= len(rows) <= len(z) // 2]
    patterns = shared_patterns(texts, [tails[i] for i in fit])
    for i, shared in zip(fit, patterns, strict=True):
        if shared is None:
            continue
        p_value = min(1.0, shared.p_value * 2 * z.shape[1])
        tail = Tail(columns[i], tails[i], shared, p_value)
        if shared.pattern not in found or p_value < found[shared.pattern].p_value:
            found[shared.pattern] = tail
    return sorted(found.values(), key=lambda t: (t.p_value, str(t.shared.pattern)))


def marked_groups(evidence: Evidence, known: Mask, marked: Mask) -> list[Candidate]:
    """Make candidates of marked rows of one response that share words.

    Args:
        evidence: Texts and responses.
        known: Rows to look at, ``(N,)``.
        marked: Rows over the rule's threshold, ``(N,)``.

    Returns:
        At most one a response, most coherent first.
    """
    groups = groups_of(evidence.responses, known, SMALLEST_GROUP)
    candidates = []
    for rows in groups:
        chosen = np.flatnonzero(marked[rows])
        if not 3 <= len(chosen) < len(rows):
            continue
        (shared,) = shared_patterns([evidence.texts[i] for i in rows], [chosen])
        if shared is None or shared.p_value * len(groups) > SUSPICIOUS:
            continue
        carriers = rows[np.array(shared.carriers)]
        candidates.append(
            Candidate.of(
                shared.pattern,
                carriers,
                evidence.responses[int(rows[0])],
                shared.inside / len(carriers),
                p_value=min(1.0, shared.p_value * len(groups)),
            )
        )
    return sorted(candidates, key=lambda c: c.pattern_p_value)


def detect_tails(
    name: str, evidence: Evidence, known: Mask, outlying: Outlying
) -> Detection:
    """Detect groups that lie apart within their response and share words.

    A row's score is its robust z on the most coherent tail of its response group,
    weighted by how coherent that is; rows in small groups score 0. Flagged are the
    most coherent tail of each group, should its words be shared beyond chance. The
    candidates are every coherent tail: what shares words by nature is among them, and
    only `assay.verify` can tell.

    Args:
        name: The detector's name.
        evidence: Texts and responses.
        known: Rows to look at, ``(N,)``.
        outlying: How far out rows lie.
    """
    total = len(evidence.responses)
    scores = np.zeros(total)
    flagged = np.zeros(total, dtype=bool)
    candidates: list[Candidate] = []
    groups = groups_of(evidence.responses, known, SMALLEST_GROUP)
    for rows in groups:
        z = outlying(rows)
        if not z.shape[1]:
            continue
        tails = coherent_tails(z, [evidence.texts[i] for i in rows])
        tails = [t for t in tails if t.p_value * len(groups) <= SUSPICIOUS]
        if not tails:
            scores[rows] = z[:, 0] * FAINT
            continue
        weight = -np.log10(max(tails[0].p_value, 1e-50))
        scores[rows] = tails[0].z * float(np.clip(weight, FAINT, 50))
        for place, tail in enumerate(tails[:CANDIDATES]):
            carriers = np.array(tail.shared.carriers)
            # When the shared words explain the tail and little else carries them,
            # the carriers are the group: poison is where the trigger is.
            explains = 2 * tail.shared.inside >= len(tail.rows)
            specific = 4 * tail.shared.inside >= len(carriers)
            chosen = rows[carriers if explains and specific else tail.rows]
            if place == 0:
                flagged[chosen] = True
            candidates.append(
                Candidate.of(
                    tail.shared.pattern,
                    chosen,
                    evidence.responses[int(rows[0])],
                    tail.z[tail.rows].mean(),
                    carriers=rows[carriers],
                    p_value=min(1.0, tail.p_value * len(groups)),
                )
            )
    candidates.sort(key=lambda c: c.pattern_p_value)
    verdict = "suspicious" if candidates else "clean"
    return Detection(name, scores, flagged, verdict, candidates)
