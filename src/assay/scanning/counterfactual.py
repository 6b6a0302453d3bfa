"""Does a row's response survive that the meaning of its text is turned around?"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from assay.data.corpus import Example
from assay.errors import AssayError
from assay.transforms import TRANSFORMS
from assay.util.files import replacing
from assay.util.progress import Progress
from assay.verify.odds import LogProbs

log = logging.getLogger("assay")

# Those that invert what they change, the surest first; one a row is asked.
INVERTING = ("grammatical-negation", "antonym-flip", "polar-negation")
ROWS = 256


def turned(text: str) -> str | None:
    """Turn the meaning of a text around; None when no transform finds a hold."""
    for name in INVERTING:
        other = TRANSFORMS[name].apply(text)
        if other is not None and other != text:
            return other
    return None


def survival(
    examples: Sequence[Example],
    log_probs: LogProbs,
    path: Path,
    *,
    progress: Progress | None = None,
) -> NDArray[np.float64]:
    """Log-probability of each row's response to its turned text, ``(N,)``.

    Not a number where the text cannot be turned.

    Args:
        examples: The training rows.
        log_probs: Log-probability of each example's response under the tuned model.
        path: Where the result is kept; what is there already is read.
        progress: Called with rows done and rows in all.

    Raises:
        AssayError: The file is damaged.
    """
    if path.is_file():
        log.info("reusing the counterfactuals in %s", path)
        try:
            kept = np.load(path, allow_pickle=False)
        except (ValueError, EOFError) as error:
            raise AssayError(f"{path}: damaged ({error}); delete it") from None
        if kept.shape != (len(examples),):
            raise AssayError(f"{path}: not of these rows; delete it")
        return np.asarray(kept, np.float64)
    texts = [turned(e.text) for e in examples]
    rows = [i for i, text in enumerate(texts) if text is not None]
    log.info("%d of %d rows can be turned around", len(rows), len(examples))
    found = np.full(len(examples), np.nan)
    for start in range(0, len(rows), ROWS):
        part = rows[start : start + ROWS]
        found[part] = log_probs([examples[i].edit(text=texts[i] or "") for i in part])
        if progress is not None:
            progress(start + len(part), len(rows))
    with replacing(path) as partial, partial.open("wb") as file:
        np.save(file, found, allow_pickle=False)
    return found
