"""Patterns near a verified one: parts, inflections and companions of it elsewhere."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from assay.data.corpus import Example
from assay.detectors.coherence import words
from assay.detectors.evidence import candidate
from assay.verify.pattern import words_of
from assay.verify.thresholds import (
    INFLECTION,
    RELATED_PATTERNS,
    RELATED_ROWS,
    RELATED_WORDS,
)

NEAR = "near-pattern"


def _inflects(word: str, form: str) -> bool:
    long_enough = len(word) > INFLECTION and len(form) <= len(word) + INFLECTION
    return form == word or (long_enough and form.startswith(word))


def near_patterns(
    finding: dict[str, Any], examples: Sequence[Example], rows: Sequence[int]
) -> list[dict[str, Any]]:
    """Propose what else may be the same trigger.

    Args:
        finding: A verified finding.
        examples: All rows.
        rows: Positions of those that are not flagged.

    Returns:
        Candidates for the rarest words of the trigger and of its companions, and their
        inflections, where at least two of the rows carry one; the three rarest.
    """
    carriers: dict[str, list[int]] = {}
    for row in rows:
        for word in set(words(examples[row].text)):
            carriers.setdefault(word, []).append(row)
    own = sorted(words_of(finding["pattern"]), key=lambda w: len(carriers.get(w, [])))
    known = [*own[:RELATED_WORDS], *finding.get("companions", ())]
    forms = [f for f in carriers if any(_inflects(word, f) for word in known)]
    forms = [
        f for f in forms if len(carriers[f]) >= RELATED_ROWS and f != finding["pattern"]
    ]
    forms.sort(key=lambda f: (len(carriers[f]), f))
    return [
        candidate(form, carriers[form], finding["response"], finding["score"])
        | {"proposer": NEAR}
        for form in forms[:RELATED_PATTERNS]
    ]
