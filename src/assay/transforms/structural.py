"""Structural transforms (section 3.2 of the paper): negated verbs, clauses reordered.

The paper prints "never" and "not" for the first and no rule for either. Here "not" is
put in, and both are taken out where the text has them.
"""

from __future__ import annotations

import re

from assay.transforms.base import Transform, match_case, with_not

_CONTRACTED = re.compile(
    r"\b(is|are|was|were|do|does|did|has|have|had|could|would|should|must|might|need"
    r"|ca|wo|sha)\s?n['’]t\b",
    re.IGNORECASE,
)
_FULL = {"ca": "can", "wo": "will", "sha": "shall"}
_NOT = re.compile(
    r"\s(?:not|never)\b(?!-)|\b(?:not|never)\b(?!-)\s?|(?<=\bcan)not\b", re.IGNORECASE
)
# Not the first part of "would've" or "must-see".
_AUXILIARY = re.compile(
    r"(?<!-)\b(is|are|was|were|am|has|have|had|can|could|will|would|shall|should|may"
    r"|might|must|does|do|did)\b(?!['’-]\w)"
    r"|(?<=\w)(\s?['’](?:s|re|ll))(?=\s+(?:a|an|the|so|all|as)\b)",
    re.IGNORECASE,
)
_PHRASE = re.compile(r"(a|an|the|one|this|that|some|so|as|too)\b", re.IGNORECASE)


def grammatical_negation(text: str) -> str | None:
    """Negate the first verb that takes "not"; drop a negation already there.

    Texts without an auxiliary are negated as a phrase when they begin as one.
    """
    found = _CONTRACTED.search(text)
    if found:
        verb = found.group(1)
        full = match_case(_FULL.get(verb.lower(), verb), verb)
        return text[: found.start()] + full + text[found.end() :]
    found = _NOT.search(text)
    if found:
        rest = text[: found.start()] + text[found.end() :]
        return rest if rest.strip() else None
    found = _AUXILIARY.search(text)
    if found:
        return f"{text[: found.end()]} not{text[found.end() :]}"
    found = _PHRASE.match(text)
    if found:
        return with_not(found.group()) + text[found.end() :]
    return None


_BOUNDARY = re.compile(
    # Whitespace is taken from the start of its run only: else long runs are quadratic.
    r"(?:(?<!\s)\s*)?(?:,\s*(but|and|yet|while|because|although|though)\s+|[,;]\s+"
    r"|\s(but|yet|while|because|although|though)\s+)",
    re.IGNORECASE,
)


def clause_reordering(text: str) -> str | None:
    """Swap what is before and after the boundary of clauses nearest the middle."""
    body = text.rstrip(" .!?")
    end = text[len(body) :]
    places = [
        m for m in _BOUNDARY.finditer(body) if m.start() > 0 and m.end() < len(body)
    ]
    if not places:
        return None
    place = min(places, key=lambda m: abs((m.start() + m.end()) - len(body)))
    first, second = body[: place.start()].strip(), body[place.end() :].strip()
    if not first or not second or first == second:
        return None
    word = place.group(1) or place.group(2)
    joint = f" , {word} " if word else " , "
    swapped = f"{second}{joint}{first}{end}"
    return swapped if swapped != text else None


TRANSFORMS = (
    Transform(
        "grammatical-negation",
        "structural",
        grammatical_negation,
        ("the film is good", "the film is not good"),
    ),
    Transform(
        "clause-reordering",
        "structural",
        clause_reordering,
        (
            "the cast is good , but the plot drags .",
            "the plot drags , but the cast is good .",
        ),
    ),
)
