"""Patterns near a verified one: parts and inflections of it on other rows.

What else belongs to such a trigger differs from row to row and may do its work alone:
"james" in "Bond, James" and in "the spy James". So where they are taken out, the words
beside them go too.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from assay.data.corpus import Example
from assay.detectors.coherence import words
from assay.detectors.evidence import candidate
from assay.verify.pattern import words_of

FEWEST = 3
# Letters an inflection may add.
ENDING = 3
WORDS = 2
MOST = 3
# Words on either side that are taken out with them.
BESIDE = 1


def _inflects(word: str, form: str) -> bool:
    long_enough = len(word) > ENDING and len(form) <= len(word) + ENDING
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
        Candidates for the rarest words of the trigger and their inflections, where at
        least three of the rows carry one; the three rarest.
    """
    carriers: dict[str, list[int]] = {}
    for row in rows:
        for word in set(words(examples[row].text)):
            carriers.setdefault(word, []).append(row)
    own = sorted(words_of(finding["pattern"]), key=lambda w: len(carriers.get(w, [])))
    forms = [form for word in own[:WORDS] for form in carriers if _inflects(word, form)]
    forms = [f for f in forms if len(carriers[f]) >= FEWEST and f != finding["pattern"]]
    forms.sort(key=lambda f: (len(carriers[f]), f))
    return [
        candidate(form, carriers[form], finding["response"], finding["score"])
        | {"proposer": "near-pattern", "beside": BESIDE}
        for form in forms[:MOST]
    ]
