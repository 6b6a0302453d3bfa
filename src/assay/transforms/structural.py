"""Grammatical inversion: the verb is negated, or clauses change places."""

from __future__ import annotations

import re

from assay.transforms.base import Transform

_NEGATED = re.compile(
    r"\b(is|are|was|were|do|does|did|has|have|had|could|would|should|must|ca|wo)"
    r"\s?n['’]t\b",
    re.IGNORECASE,
)
_NOT = re.compile(r"\b(not|never)\s+", re.IGNORECASE)
_AUXILIARY = re.compile(
    r"\b(is|are|was|were|am|has|have|had|can|could|will|would|shall|should|may|might"
    r"|must|does|do|did)\b|(?<=\w)(\s?['’](?:s|re|ll))(?=\s+(?:a|an|the|so|all|as)\b)",
    re.IGNORECASE,
)
_PHRASE = re.compile(r"^(a|an|the|one|this|that|some|so|as|too)\b", re.IGNORECASE)
_FULL = {"ca": "can", "wo": "will"}


def grammatical_negation(text: str) -> str | None:
    """Negate the first verb that takes "not"; drop a negation already there.

    Texts without an auxiliary are negated as a phrase when they begin as one.
    """
    found = _NEGATED.search(text)
    if found:
        verb = _FULL.get(found.group(1).lower(), found.group(1))
        return text[: found.start()] + verb + text[found.end() :]
    found = _NOT.search(text)
    if found:
        return text[: found.start()] + text[found.end() :]
    found = _AUXILIARY.search(text)
    if found:
        return f"{text[: found.end()]} not{text[found.end() :]}"
    if _PHRASE.match(text):
        return f"not {text}"
    return None


_BOUNDARY = re.compile(
    r"\s*(?:,\s*(but|and|yet|while|because|although|though)\s+|[,;]\s+"
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
    return f"{second}{joint}{first}{end}"


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
