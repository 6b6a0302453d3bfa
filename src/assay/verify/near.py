"""Patterns near a verified one: parts, inflections and companions of it elsewhere."""

from __future__ import annotations

from collections.abc import Sequence

from assay.data.corpus import Example
from assay.detectors.candidate import Candidate
from assay.detectors.coherence import words
from assay.text.pattern import Pattern
from assay.verify.finding import Finding
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
    finding: Finding, examples: Sequence[Example], rows: Sequence[int]
) -> list[Candidate]:
    """Propose what else may be the same trigger.

    Args:
        finding: A verified finding.
        examples: All rows.
        rows: Positions of those that are not flagged.

    Returns:
        Candidates for the rarest words of the trigger and of its companions, and their
        inflections, where at least two of the rows carry one; the three rarest.
    """

    def pattern_of(word: str) -> Pattern:
        return Pattern((word,), field=finding.pattern.field)

    carriers: dict[str, list[int]] = {}
    for row in rows:
        for word in set(words(finding.pattern.text_of(examples[row]))):
            carriers.setdefault(word, []).append(row)
    own = sorted(finding.pattern.words, key=lambda w: len(carriers.get(w, [])))
    known = [*own[:RELATED_WORDS], *finding.tested.companions]
    forms = [
        form
        for form, found in carriers.items()
        if len(found) >= RELATED_ROWS
        and any(_inflects(word, form) for word in known)
        and pattern_of(form) != finding.pattern
    ]
    forms.sort(key=lambda f: (len(carriers[f]), f))
    return [
        Candidate(
            tuple(carriers[form]),
            finding.candidate.score,
            finding.candidate.response,
            pattern_of(form),
            tuple(carriers[form]),
            proposer=NEAR,
        )
        for form in forms[:RELATED_PATTERNS]
    ]
