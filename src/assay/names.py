"""Names that the command line shows without importing what bears them."""

from __future__ import annotations

from typing import Final

DEFAULT: Final = "gradient-geometry"
"""The detector whose flags count unless another is asked for."""

DETECTORS: Final = (
    DEFAULT,
    "association",
    "response-phrases",
    "hidden-geometry",
    "high-loss",
    "spectral",
    "activation-clustering",
    "hidden-similarity",
    "direct-influence",
    "low-influence",
    "single-transform",
    "variance",
    "low-variance",
    "voting",
    "leave-one-category-out",
    "combined",
    "paper-ensemble",
    "counterfactual",
    "name-scrubbing",
)
"""All detectors, in the order of `assay.detectors.DETECTORS`."""
