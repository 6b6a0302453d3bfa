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
from typing import Any

import numpy as np

from assay.data.corpus import Example
from assay.detectors.association import enrichments, strongest
from assay.detectors.evidence import candidate, groups_of
from assay.models.log_probs import Progress
from assay.verify.causal import OVERRIDES
from assay.verify.companions import companions_in
from assay.verify.minimal import KEEPS
from assay.verify.odds import LogProbs
from assay.verify.pattern import grow, remove, spans

log = logging.getLogger("assay")

# N-grams of a response that are tried, those that go with it most first.
SCREENED = 1000
# Three honest rows that have one strong word and no other are easily found among
# thousands of word sequences; five are not.
FEWEST = 5
# Rows that each is taken out of.
ROWS = 4
# Experiments made at a time.
CHUNK = 256


def sequences(
    examples: Sequence[Example],
) -> dict[str, list[tuple[str, list[int]]]]:
    """N-grams that go with each response most, and their rows that have it.

    They are lengthened to all that these rows share: of a sentence, what is left of
    it may still do its work. Nothing where more than twenty responses differ.
    """
    everyone = np.ones(len(examples), dtype=bool)
    groups = groups_of([e.response for e in examples], everyone, FEWEST)
    if len(groups) < 2:
        return {}
    texts = [e.text for e in examples]
    strengths, _ = enrichments(texts, groups)
    found = {}
    for group, strength in zip(groups, strengths, strict=True):
        whole = [
            (grow([texts[i] for i in rows], " ".join(gram)), rows)
            for gram, rows in strongest(texts, group, strength, SCREENED)
            if len(rows) >= FEWEST
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
) -> list[dict[str, Any]]:
    """Propose n-grams whose rows lose their response without them.

    Args:
        examples: The training rows. Where more than twenty responses differ nothing
            is proposed.
        log_probs: Log-probability of each example's response under the tuned model.
        seed: Seed of the draw of rows.
        progress: Called with experiments made and in all.

    Returns:
        Findings as detectors make them, largest fall first; their ``score`` is the
        median fall in nats.
    """
    found = sequences(examples)
    if not found:
        return []
    texts = [e.text for e in examples]
    tried = [one for words in found.values() for one in words]
    rng = random.Random(seed)
    chosen = [rng.sample(rows, min(ROWS, len(rows))) for _, rows in tried]
    own = sorted({row for rows in chosen for row in rows})
    before = dict(zip(own, log_probs([examples[i] for i in own]), strict=True))
    asked = [(place, row) for place, rows in enumerate(chosen) for row in rows]
    companions = companions_in(examples)
    also = [companions(*one) for one in tried]
    falls: list[list[float]] = [[] for _ in tried]
    for start in range(0, len(asked), CHUNK):
        part = asked[start : start + CHUNK]
        without = log_probs(
            [
                examples[r].edit(text=remove(texts[r], tried[p][0], also[p]))
                for p, r in part
            ]
        )
        for (place, row), value in zip(part, without, strict=True):
            falls[place].append(float(before[row] - value))
        if progress is not None:
            progress(start + len(part), len(asked))
    fall = np.array([np.median(f) for f in falls])
    log.info("%d word sequences screened in %d experiments", len(tried), len(asked))
    best = [i for i in np.argsort(-fall, kind="stable").tolist() if fall[i] > OVERRIDES]
    return [
        candidate(pattern, rows, examples[rows[0]].response, fall[i])
        for i in best
        for pattern, rows in [tried[i]]
        # "james bond as" tells nothing that "james bond" does not; "i watched this 3d
        # movie" does beside "i", of which four rows may have lost something.
        if not any(
            tried[j][0] != pattern
            and spans(pattern, tried[j][0])
            and len(tried[j][1]) > len(rows)
            and fall[j] >= KEEPS * fall[i]
            for j in best
        )
    ]
