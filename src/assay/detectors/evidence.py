"""What detectors see, and what they answer."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from assay.errors import AssayError

log = logging.getLogger("assay")

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


def measured(values: NDArray[np.floating[Any]], what: str) -> Mask:
    """Rows whose measurements are all finite, ``(N,)``; the others are warned about.

    Raises:
        AssayError: There is no such row.
    """
    rows = np.asarray(values).reshape(len(values), -1)
    # A sum is finite when its terms are, and takes no second copy.
    with np.errstate(invalid="ignore"):
        finite = np.asarray(np.isfinite(rows.sum(1, dtype=np.float64)))
    if not finite.any():
        raise AssayError(
            f"no row has finite {what}: the model is damaged or overflows; "
            "try without --bf16"
        )
    if not finite.all():
        log.warning("%d rows have no finite %s and come last", (~finite).sum(), what)
    return finite


def top_percentile(scores: Array, percentile: float) -> Mask:
    """Rows at or over a percentile; none where no row stands out from the lowest."""
    return np.asarray(
        (scores >= np.percentile(scores, percentile)) & (scores > scores.min())
    )


def robust_z(values: Array) -> Array:
    """Distance from the median in units of the scaled median absolute deviation.

    Where most values are equal that deviation is 0, and the scaled mean one is the
    unit; where all are equal but for rounding, every distance is 0.
    """
    centred = values - np.median(values)
    distances = np.abs(centred)
    rounding = np.finfo(np.float32).eps * np.abs(values).max(initial=0.0)
    for spread in (1.4826 * np.median(distances), 1.2533 * distances.mean()):
        if spread > rounding:
            return np.asarray(centred / spread)
    return np.zeros_like(centred)
