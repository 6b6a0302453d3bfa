"""What detectors see, and what they answer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Mask = NDArray[np.bool_]


@dataclass(frozen=True)
class Evidence:
    """Everything measured about the training rows; nothing about the poison.

    Attributes:
        texts: Input text of each row.
        responses: Response of each row.
        losses: Mean loss of a response token, ``(N,)``.
        features: Projected per-example gradients, ``(N, F)``.
        hidden: Hidden state where the response begins, ``(N, d)``.
        influence: Query set (``original`` or a transform's name) to the rows'
            influence on it, ``(N,)``; positive lowers the queries' loss.
        categories: Transform name to its category.
    """

    texts: Sequence[str]
    responses: Sequence[str]
    losses: NDArray[np.float32]
    features: NDArray[np.float32]
    hidden: NDArray[np.float32]
    influence: Mapping[str, Array] = field(default_factory=dict)
    categories: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Detection:
    """A detector's answer.

    Attributes:
        name: The detector's name.
        scores: Suspicion, higher is more suspicious, ``(N,)``.
        flagged: Rows over the detector's own threshold, ``(N,)``.
        verdict: ``poisoned``, ``suspicious`` or ``clean``.
        findings: JSON-ready descriptions of what was found.
    """

    name: str
    scores: Array
    flagged: Mask
    verdict: str
    findings: list[dict[str, Any]] = field(default_factory=list)


def simple(name: str, scores: Array, flagged: Mask) -> Detection:
    """Make the answer of a detector that ranks but explains nothing."""
    verdict = "suspicious" if flagged.any() else "clean"
    rows = [int(i) for i in np.flatnonzero(flagged)]
    findings = [{"rows": rows, "score": float(scores[flagged].mean())}] if rows else []
    return Detection(name, scores.astype(np.float64), flagged, verdict, findings)


def response_groups(responses: Sequence[str], most: int = 20) -> list[NDArray[np.intp]]:
    """Split rows by response; one group of all when responses are open-ended."""
    distinct = list(dict.fromkeys(responses))
    if len(distinct) > most:
        return [np.arange(len(responses))]
    column = np.array(responses, dtype=object)
    return [np.flatnonzero(column == r) for r in distinct]


def robust_z(values: Array) -> Array:
    """Distance from the median in units of the scaled median absolute deviation."""
    centred = values - np.median(values)
    spread = 1.4826 * np.median(np.abs(centred))
    return centred / max(float(spread), 1e-12)
