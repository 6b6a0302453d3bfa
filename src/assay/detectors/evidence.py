"""What detectors see, and what they answer."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from assay.detectors.candidate import Candidate
from assay.errors import AssayError

log = logging.getLogger("assay")

Array = NDArray[np.float64]
Mask = NDArray[np.bool_]

# Bytes of rows that are worked on at a time.
BLOCK = 2**26


@dataclass(frozen=True)
class Evidence:
    """Everything measured about the training rows; nothing about the poison.

    Features and hidden states may be read-only memory maps larger than memory: take
    rows of them in `slices`.

    Attributes:
        texts: Input text of each row.
        responses: Response of each row.
        losses: Mean loss of a response token, ``(N,)``.
        features: Projected per-example gradients, ``(N, F)``.
        hidden: Hidden state where the response begins, ``(N, d)``.
        influence: Query set (``original`` or a transform's name) to the rows'
            influence on it, ``(N,)``; positive lowers the queries' loss.
        categories: Transform name to its category.
        survival: Log-probability of each row's response when its text's meaning is
            turned around, ``(N,)``, not a number where no transform could; None when
            not measured.
    """

    texts: Sequence[str]
    responses: Sequence[str]
    losses: NDArray[np.float32]
    features: NDArray[np.float32]
    hidden: NDArray[np.float32]
    influence: Mapping[str, Array] = field(default_factory=dict)
    categories: Mapping[str, str] = field(default_factory=dict)
    survival: Array | None = None


@dataclass(frozen=True)
class Detection:
    """A detector's answer.

    Attributes:
        name: The detector's name.
        scores: Suspicion, higher is more suspicious, ``(N,)``.
        flagged: Rows over the detector's own threshold, ``(N,)``.
        verdict: ``poisoned``, ``suspicious`` or ``clean``.
        candidates: Groups of rows and the words that they share, most promising first;
            none from a detector that ranks rows but explains nothing.
        coordinates: Where the detector sees the rows, ``(N, 2)``, nan where it does
            not look; rows of different responses do not compare.
    """

    name: str
    scores: Array
    flagged: Mask
    verdict: str
    candidates: Sequence[Candidate] = ()
    coordinates: NDArray[np.float32] | None = None


def simple(name: str, scores: Array, flagged: Mask) -> Detection:
    """Make the answer of a detector that ranks but explains nothing."""
    verdict = "suspicious" if flagged.any() else "clean"
    return Detection(name, scores.astype(np.float64), flagged, verdict)


def response_groups(responses: Sequence[str], most: int = 20) -> list[NDArray[np.intp]]:
    """Split rows by response; one group of all when responses are open-ended."""
    distinct = list(dict.fromkeys(responses))
    if len(distinct) > most:
        return [np.arange(len(responses))]
    column = np.array(responses, dtype=object)
    return [np.flatnonzero(column == r) for r in distinct]


def groups_of(
    responses: Sequence[str], known: Mask, least: int
) -> list[NDArray[np.intp]]:
    """Rows of each response that are in question, where there are enough of them."""
    groups = [g[known[g]] for g in response_groups(responses)]
    return [g for g in groups if len(g) >= least]


def slices(total: int, size: int, budget: int) -> Iterator[slice]:
    """Cut a range of items of ``size`` bytes into slices of ``budget`` bytes at most.

    A slice has one item at least, whatever its size.
    """
    step = max(1, budget // max(1, size))
    return (slice(i, min(i + step, total)) for i in range(0, total, step))


def measured(values: NDArray[np.floating[Any]], what: str) -> Mask:
    """Rows whose measurements are all finite, ``(N,)``; the others are warned about.

    Raises:
        AssayError: There is no such row.
    """
    values = np.asarray(values)
    finite = np.zeros(len(values), dtype=bool)
    for part in slices(len(values), values[:1].nbytes, BLOCK):
        rows = values[part].reshape(part.stop - part.start, -1)
        # A sum is finite when its terms are, and takes no second copy.
        with np.errstate(invalid="ignore"):
            finite[part] = np.isfinite(rows.sum(1, dtype=np.float64))
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
