"""Default detector: an outlying direction in the gradients of one response.

Rows that share a response are compared by their length-normalised projected
gradients. Independent and principal components of these find directions along which
a few rows lie far out; see `assay.detectors.tails` for what becomes of them.
"""

from __future__ import annotations

import warnings
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray
from scipy.stats import kurtosis, skew
from sklearn.decomposition import FastICA

from assay.detectors.components import principal_components
from assay.detectors.evidence import (
    Array,
    Detection,
    Evidence,
    Mask,
    measured,
    robust_z,
)
from assay.detectors.tails import detect_tails

COMPONENTS = 10


def independent_components(scores: Array, seed: int = 0) -> Array:
    """Robust z-scores on independent components, ``(n, c)``.

    The heavy tail of each is positive; the most kurtotic comes first.
    """
    with warnings.catch_warnings():
        # Not converging costs precision of a direction, not validity.
        warnings.simplefilter("ignore")
        sources = FastICA(
            whiten="unit-variance", random_state=seed, max_iter=1000
        ).fit_transform(scores)
    sources = sources * np.where(skew(sources) < 0, -1.0, 1.0)
    order = np.argsort(-kurtosis(sources))
    return np.column_stack([robust_z(sources[:, i]) for i in order])


def components(
    values: NDArray[np.float32], rows: NDArray[np.intp], *, seed: int = 0
) -> Array:
    """Scores of length-normalised rows on their principal components, ``(n, c)``."""
    count = min(COMPONENTS, len(rows) // 4, values.shape[1])
    principal = principal_components(values, count, rows, seed=seed)
    return principal[:, principal.std(0) > 1e-6]


def outlying(principal: Array, *, seed: int = 0) -> Array:
    """Robust z-scores along independent and principal components, ``(n, 2 c)``."""
    if not principal.shape[1]:
        return principal
    # Symmetric FastICA can spread one outlying group over near-Gaussian directions;
    # the principal components then still show it.
    columns = [robust_z(column)[:, None] for column in principal.T]
    return np.hstack([independent_components(principal, seed), *columns])


def gradient_geometry(
    evidence: Evidence, keep: Mask | None = None, *, seed: int = 0
) -> Detection:
    """Detect groups of rows that lie apart in gradient space and share words.

    Coordinates are the first two principal components.

    Args:
        evidence: Needs ``features``.
        keep: Rows to look at; all by default.
        seed: Seed of FastICA, and of the components of large groups.

    Raises:
        AssayError: No row has finite features.
    """
    known = measured(evidence.features, "gradient")
    if keep is not None:
        known &= keep
    places = np.full((len(known), 2), np.nan, np.float32)

    def apart(rows: NDArray[np.intp]) -> Array:
        principal = components(evidence.features, rows, seed=seed)
        places[rows] = 0
        places[rows, : principal.shape[1]] = principal[:, :2]
        return outlying(principal, seed=seed)

    found = detect_tails("gradient-geometry", evidence, known, apart)
    return replace(found, coordinates=places)
