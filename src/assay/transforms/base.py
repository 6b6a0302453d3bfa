"""What a transform is, and applying one to examples."""

from __future__ import annotations

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
