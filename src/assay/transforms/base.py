"""What a transform is, and applying one to examples."""

from __future__ import annotations

import string
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from assay.data.corpus import Example


@dataclass(frozen=True)
class Transform:
    """A change of a text that inverts or unsettles its meaning.

    Attributes:
        name: Such as ``antonym-flip``.
        category: ``lexicon``, ``semantic``, ``structural`` or ``wrapper``.
        apply: Text in, text out; None when the text offers nothing to change.
        example: A text and what becomes of it.
    """

    name: str
    category: str
    apply: Callable[[str], str | None]
    example: tuple[str, str]


def match_case(word: str, model: str) -> str:
    """Write a word in the case of another: lower, Capitalised or UPPER."""
    if model.isupper() and len(model) > 1:
        return word.upper()
    return word[:1].upper() + word[1:] if model[:1].isupper() else word


def with_not(word: str) -> str:
    """Put "not" in front of a word, in its case."""
    shouted = word.isupper() and len(word) > 1
    return f"{match_case('not', word)} {word if shouted else word.lower()}"


def content(text: str) -> str:
    """Return the text without outer whitespace; nothing when it is punctuation only."""
    bare = text.strip()
    return bare if bare.strip(string.punctuation + string.whitespace) else ""


def transform_examples(
    examples: Sequence[Example], transform: Transform
) -> tuple[list[Example], list[str]]:
    """Transform the text of examples; the response stays.

    Returns:
        The changed examples, and the ids of those that could not be changed (they
        are not among the former).
    """
    changed, unchanged = [], []
    for example in examples:
        text = transform.apply(example.text)
        if text is None or text == example.text:
            unchanged.append(example.id)
        else:
            changed.append(example.edit(text=text))
    return changed, unchanged
