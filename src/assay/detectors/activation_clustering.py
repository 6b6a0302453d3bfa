"""Baseline: activation clustering (Chen et al. 2018)."""

from __future__ import annotations

import numpy as np
from sklearn.cluster import KMeans
from sklearn.decomposition import PCA
from sklearn.metrics import silhouette_samples

from assay.detectors.evidence import (
    Detection,
    Evidence,
    measured,
    response_groups,
    simple,
)


def activation_clustering(evidence: Evidence, *, seed: int = 0) -> Detection:
    """Split each response's hidden states in two; the small side is suspect.

    Score: silhouette of the row, positive in the smaller cluster and negative in the
    larger. A cluster is flagged under 35 % of its group (the paper's size rule).
    Groups under 20 rows, and rows whose states are not finite, come last.

    Raises:
        AssayError: No row's state is finite.
    """
    known = measured(evidence.hidden, "hidden state")
    scores = np.full(len(evidence.responses), -1.0)
    flagged = np.zeros(len(scores), dtype=bool)
    for group in response_groups(evidence.responses):
        # k-means draws its first centres by position: take rows in an order of content.
        content = {i: evidence.hidden[i].tobytes() for i in group[known[group]]}
        rows = np.array(sorted(content, key=content.__getitem__), dtype=np.intp)
        states = evidence.hidden[rows].astype(np.float64)
        if len(rows) < 20 or not np.ptp(states, axis=0).any():
            continue
        states = PCA(min(10, *states.shape), random_state=seed).fit_transform(states)
        labels = KMeans(2, n_init=10, random_state=seed).fit_predict(states)
        if len(set(labels)) < 2:
            continue
        small = labels == int(np.bincount(labels).argmin())
        fit = silhouette_samples(states, labels)
        scores[rows] = np.where(small, fit, -fit)
        flagged[rows] = small & (small.mean() < 0.35)
    return simple("activation-clustering", scores, flagged)
