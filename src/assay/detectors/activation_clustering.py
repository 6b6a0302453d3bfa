"""Baseline: activation clustering (Chen et al. 2018)."""

from __future__ import annotations

import hashlib

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.distance import cdist
from sklearn.cluster import KMeans
from sklearn.decomposition import PCA
from sklearn.metrics import silhouette_samples

from assay.detectors.components import fits, streamed_components
from assay.detectors.evidence import (
    BLOCK,
    Array,
    Detection,
    Evidence,
    groups_of,
    measured,
    simple,
    slices,
)

# Rows up to which every distance is taken.
EXACT = 10_000
SAMPLE = 1000


def activation_clustering(evidence: Evidence, *, seed: int = 0) -> Detection:
    """Split each response's hidden states in two; the small side is suspect.

    Score: silhouette of the row, positive in the smaller cluster and negative in the
    larger; in groups over `EXACT` rows from distances to a sample of each. A cluster
    is flagged under 35 % of its group (the paper's size rule). Groups under 20 rows,
    and rows whose states are not finite, come last.

    Raises:
        AssayError: No row's state is finite.
    """
    hidden = np.asarray(evidence.hidden)
    known = measured(hidden, "hidden state")
    scores = np.full(len(evidence.responses), -1.0)
    flagged = np.zeros(len(scores), dtype=bool)
    for rows in groups_of(evidence.responses, known, 20):
        if _alike(hidden, rows):
            continue
        order = _by_content(hidden, rows)
        if fits(hidden, rows):
            states = hidden[rows[order]].astype(np.float64)
            pca = PCA(min(10, *states.shape), random_state=seed)
            states = pca.fit_transform(states)
        else:
            # Read in the order they lie in.
            states = streamed_components(hidden, 10, rows, unit=False, seed=seed)[order]
        rows = rows[order]
        labels = KMeans(2, n_init=10, random_state=seed).fit_predict(states)
        if len(set(labels)) < 2:
            continue
        small = labels == int(np.bincount(labels).argmin())
        fit = _silhouettes(states, labels, seed)
        scores[rows] = np.where(small, fit, -fit)
        flagged[rows] = small & (small.mean() < 0.35)
    return simple("activation-clustering", scores, flagged)


def _alike(hidden: NDArray[np.float32], rows: NDArray[np.intp]) -> bool:
    parts = slices(len(rows), hidden[:1].nbytes, BLOCK)
    return not any((hidden[rows[p]] != hidden[rows[0]]).any() for p in parts)


def _by_content(
    hidden: NDArray[np.float32], rows: NDArray[np.intp]
) -> NDArray[np.intp]:
    """Order rows by their states: k-means draws its first centres by position."""

    def key(row: np.intp) -> bytes:
        # The rest only tells apart rows that begin alike.
        content = hidden[row].tobytes()
        return content[:32] + hashlib.blake2b(content, digest_size=16).digest()

    keys = [key(row) for row in rows]
    return np.array(sorted(range(len(rows)), key=keys.__getitem__), dtype=np.intp)


def _silhouettes(states: Array, labels: NDArray[np.intp], seed: int) -> Array:
    """Silhouette of every row, ``(n,)``."""
    if len(states) <= EXACT:
        return np.asarray(silhouette_samples(states, labels))
    rng = np.random.default_rng(seed)
    mean = np.empty((2, len(states)))
    for label in range(2):
        chosen = rng.permutation(np.flatnonzero(labels == label))[:SAMPLE]
        # A row is no neighbour of its own.
        number = np.full(len(states), float(len(chosen)))
        number[chosen] -= 1
        for part in slices(len(states), 8 * len(chosen), BLOCK):
            mean[label, part] = cdist(states[part], states[chosen]).sum(1)
        with np.errstate(invalid="ignore"):
            mean[label] /= number
    own, other = np.where(labels == 0, mean, mean[::-1])
    with np.errstate(invalid="ignore"):
        # As in scikit-learn, a row alone in its cluster has 0.
        return np.nan_to_num((other - own) / np.maximum(own, other))
