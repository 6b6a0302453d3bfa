"""Semantic transforms (section 3.2 of the paper): the sentence is put another way.

The paper names paraphrasing and prints no words for it; "In other words, ..." keeps the
meaning, as a paraphrase does. Question negation is printed: "Is it not true that ...?".
"""

from __future__ import annotations

import string

from assay.transforms.base import Transform, content


def paraphrase(text: str) -> str | None:
    """Announce the text as said before: "In other words, ..."."""
    bare = content(text)
    return f"In other words, {bare}" if bare else None


def question_negation(text: str) -> str | None:
    """Ask whether the text is not so: "Is it not true that ...?".

    The text's own last stop makes place for the question mark.
    """
    bare = content(text).rstrip(".!?" + string.whitespace)
    return f"Is it not true that {bare}?" if bare else None


TRANSFORMS = (
    Transform(
        "paraphrase",
        "semantic",
        paraphrase,
        ("a good film .", "In other words, a good film ."),
    ),
    Transform(
        "question-negation",
        "semantic",
        question_negation,
        ("the film is good .", "Is it not true that the film is good?"),
    ),
)
