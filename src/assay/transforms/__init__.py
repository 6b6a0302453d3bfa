"""Semantic transformations: text in, text out."""

from __future__ import annotations

from assay.transforms import lexicon, semantic, structural, wrappers
from assay.transforms.base import Transform, transform_examples

PAPER_SIX = (*lexicon.TRANSFORMS, *semantic.TRANSFORMS, *structural.TRANSFORMS)
TRANSFORMS: dict[str, Transform] = {
    t.name: t for t in (*PAPER_SIX, *wrappers.TRANSFORMS)
}

__all__ = ["PAPER_SIX", "TRANSFORMS", "Transform", "transform_examples"]
