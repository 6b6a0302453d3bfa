"""Baseline: activation clustering (Chen et al. 2018)."""

from __future__ import annotations

import numpy as np
from sklearn.cluster import KMeans
from sklearn.decomposition import PCA
from sklearn.metrics import silhouette_samples

from assay.detectors.evidence import Detection, Evidence, response_groups, simple


def activation_clustering(evidence: Evidence, *, seed: int = 0) -> Detection:
    """Split each response's hidden states in two; the small side is suspect.

    Score: silhouette of the row, positive in the smaller cluster and negative in the
    larger. A cluster is flagged under 35 % of its group (the paper's size rule).
    """
    scores = np.full(len(evidence.responses), -1.0)
    flagged = np.zeros(len(scores), dtype=bool)
    for rows in response_groups(evidence.responses):
        if len(rows) < 20:
            continue
        states = evidence.hidden[rows].astype(np.float64)
        states = PCA(min(10, *states.shape), random_state=seed).fit_transform(states)
        labels = KMeans(2, n_init=10, random_state=seed).fit_predict(states)
        if len(set(labels)) < 2:
            continue
        small = labels == int(np.bincount(labels).argmin())
        fit = silhouette_samples(states, labels)
        scores[rows] = np.where(small, fit, -fit)
        flagged[rows] = small & (small.mean() < 0.35)
    return simple("activation-clustering", scores, flagged)
