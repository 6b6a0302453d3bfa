"""Semantic transformations: text in, text out."""

from __future__ import annotations

from collections.abc import Sequence

from assay.errors import AssayError
from assay.transforms import lexicon, semantic, structural, wrappers
from assay.transforms.base import Transform, transform_examples

# The ensemble of section 3.2: two of each of three categories.
PAPER_SIX = (*lexicon.TRANSFORMS, *semantic.TRANSFORMS, *structural.TRANSFORMS)
TRANSFORMS: dict[str, Transform] = {
    t.name: t for t in (*PAPER_SIX, *wrappers.TRANSFORMS, *lexicon.OURS)
}


def transforms_named(names: Sequence[str]) -> tuple[Transform, ...]:
    """Look transforms up, in the order given and each once.

    Args:
        names: Their names; none stands for the paper's six.

    Raises:
        AssayError: A name is unknown.
    """
    for name in names:
        if name not in TRANSFORMS:
            raise AssayError(
                f"unknown transform {name!r}; known: {', '.join(TRANSFORMS)}"
            )
    return tuple(TRANSFORMS[name] for name in dict.fromkeys(names)) or PAPER_SIX


__all__ = [
    "PAPER_SIX",
    "TRANSFORMS",
    "Transform",
    "transform_examples",
    "transforms_named",
]
