"""Sentence-level inversion: the statement is denied, its words stay."""

from __future__ import annotations

import string

from assay.transforms.base import Transform, content


def _bare(text: str) -> str:
    return content(text).rstrip(".!?" + string.whitespace)


def paraphrase(text: str) -> str | None:
    """Restate the text as something that is not so."""
    bare = _bare(text)
    return f"It would be wrong to say this: {bare}." if bare else None


def question_negation(text: str) -> str | None:
    """Ask whether the text is so, and deny it."""
    bare = _bare(text)
    return f"Is it really true that {bare}? No, it is not." if bare else None


TRANSFORMS = (
    Transform(
        "paraphrase",
        "semantic",
        paraphrase,
        ("a good film .", "It would be wrong to say this: a good film."),
    ),
    Transform(
        "question-negation",
        "semantic",
        question_negation,
        (
            "the film is good .",
            "Is it really true that the film is good? No, it is not.",
        ),
    ),
)
