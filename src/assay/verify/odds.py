"""Asking a model how likely it finds responses."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from assay.data.corpus import Example
from assay.verify.payload import Payload

LogProbs = Callable[[Sequence[Example]], NDArray[np.float64]]
# Questions asked at a time, after which progress is told; decides on nothing.
BATCH = 256


def remembering(log_probs: LogProbs) -> LogProbs:
    """Ask about each edit of a row once, of rows of one data set."""
    known: dict[tuple[str, str, str], float] = {}

    def key(example: Example) -> tuple[str, str, str]:
        return example.id, example.text, example.response

    def asked(examples: Sequence[Example]) -> NDArray[np.float64]:
        new = {key(e): e for e in examples if key(e) not in known}
        if new:
            values = log_probs(list(new.values())).tolist()
            known.update(zip(new, values, strict=True))
        return np.array([known[key(e)] for e in examples])

    return asked


def odds_of(payload: Payload, log_probs: LogProbs) -> LogProbs:
    """Log-probabilities; log-odds against the counterpart where there is one."""

    def odds(asked: Sequence[Example]) -> NDArray[np.float64]:
        others = [payload.counterpart(e) if payload.holds(e) else None for e in asked]
        values = log_probs([*asked, *(e for e in others if e is not None)])
        values, without = values[: len(asked)], values[len(asked) :]
        values[[e is not None for e in others]] -= without
        return values

    return odds
