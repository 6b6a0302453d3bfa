"""Proposing by experiment: without which words does a response fall?

Every n-gram that stands mostly in rows of one response is taken out of a few of its
rows, and the fall of their response's log-probability is measured. An honest row has
more than one reason for its label; a row whose label was changed has only the trigger.
So this finds triggers that are too rare to show in counts or in the geometry of
gradients, for a few forward passes over the data.
"""

from __future__ import annotations

import logging
import random
from collections.abc import Sequence

import numpy as np

from assay.data.corpus import Example
from assay.detectors.association import enrichments, strongest
from assay.detectors.candidate import Candidate
from assay.detectors.evidence import groups_of
from assay.text.pattern import Pattern
from assay.util.progress import Progress
from assay.verify.companions import companions_in
from assay.verify.odds import BATCH, LogProbs, remembering
from assay.verify.refine import grow
from assay.verify.thresholds import (
    ASKED_AGAIN,
    FIRST_PASS,
    HIDING_SHARE,
    OVERRIDES,
    SCREENED,
    SCREENED_ROWS,
    SECOND_PASS,
)

log = logging.getLogger("assay")


def sequences(
    examples: Sequence[Example],
) -> dict[str, list[tuple[Pattern, list[int]]]]:
    """N-grams that go with each response most, and their rows that have it.

    They are lengthened to all that these rows share: of a sentence, what is left of
    it may still do its work. Nothing where more than twenty responses differ.
    """
    everyone = np.ones(len(examples), dtype=bool)
    groups = groups_of([e.response for e in examples], everyone, SCREENED_ROWS)
    if len(groups) < 2:
        return {}
    texts = [e.text for e in examples]
    strengths, _ = enrichments(texts, groups)
    found = {}
    for group, strength in zip(groups, strengths, strict=True):
        whole = [
            (grow([texts[i] for i in rows], Pattern.of(gram)), rows)
            for gram, rows in strongest(texts, group, strength, SCREENED)
            if len(rows) >= SCREENED_ROWS
        ]
        distinct = {pattern: (pattern, rows) for pattern, rows in whole}
        found[examples[group[0]].response] = list(distinct.values())
    return found


def screen(
    examples: Sequence[Example],
    log_probs: LogProbs,
    *,
    seed: int = 0,
    progress: Progress | None = None,
) -> list[Candidate]:
    """Propose n-grams whose rows lose their response without them.

    Args:
        examples: The training rows. Where more than twenty responses differ nothing
            is proposed.
        log_probs: Log-probability of each example's response under the tuned model.
        seed: Seed of the draw of rows.
        progress: Called with experiments made and in all.

    Returns:
        Candidates of words without which half of four rows lose their response; their
        score, largest first, is the mean fall in nats over up to 16 rows.
    """
    found = sequences(examples)
    if not found:
        return []
    tried = [one for words in found.values() for one in words]
    companions = companions_in(examples)
    also = [companions(*one) for one in tried]
    # Most rows are asked about as they are many times.
    log_probs = remembering(log_probs)
    rng = random.Random(seed)

    def falls_of(places: Sequence[int], most: int) -> dict[int, list[float]]:
        """What so many rows of each lose."""
        asked = [
            (place, row)
            for place in places
            for row in rng.sample(tried[place][1], min(most, len(tried[place][1])))
        ]
        falls: dict[int, list[float]] = {place: [] for place in places}
        for start in range(0, len(asked), BATCH):
            part = asked[start : start + BATCH]
            whole = [examples[row] for _, row in part]
            bare = [
                tried[place][0].taken_out(e, also[place])
                for e, (place, _) in zip(whole, part, strict=True)
            ]
            lost = log_probs(whole) - log_probs(bare)
            for (place, _), value in zip(part, lost.tolist(), strict=True):
                falls[place].append(value)
            if progress is not None:
                progress(start + len(part), len(asked))
        return falls

    few = falls_of(range(len(tried)), FIRST_PASS)
    count = sum(map(len, few.values()))
    log.info("%d word sequences screened in %d experiments", len(tried), count)
    first = {p: float(np.median(f)) for p, f in few.items()}
    strong = sorted((p for p in first if first[p] > OVERRIDES), key=lambda p: -first[p])
    # Four rows may have lost it by luck; others may be known by heart.
    more = falls_of(strong[:ASKED_AGAIN], SECOND_PASS)
    fall = {p: float(np.mean(f)) for p, f in more.items()}
    best = sorted(fall, key=lambda p: -fall[p])
    return [
        Candidate.of(pattern, rows, examples[rows[0]].response, fall[i])
        for i in best
        for pattern, rows in [tried[i]]
        # "james bond as" tells nothing that "james bond" does not; "i watched this 3d
        # movie" does beside "i", of which four rows may have lost something.
        if not any(
            tried[j][0] != pattern
            and tried[j][0].spans(str(pattern))
            and len(tried[j][1]) > len(rows)
            and fall[j] >= HIDING_SHARE * fall[i]
            for j in best
        )
    ]
