"""Baseline: name scrubbing, as a detector.

The defence removes person names from the data. A row is suspect when it has one;
among those, names that many rows share come first.
"""

from __future__ import annotations

from collections import Counter

import numpy as np

from assay.data.names import person_names
from assay.detectors.evidence import Detection, Evidence, simple


def name_scrubbing(evidence: Evidence) -> Detection:
    """Score by the number of rows that share the row's most common person name.

    Raises:
        AssayError: spaCy or an English model for it is not installed.
    """
    names = [
        {text[start:end].lower() for start, end in spans}
        for text, spans in zip(
            evidence.texts, person_names(list(evidence.texts)), strict=True
        )
    ]
    rows_with = Counter(name for row in names for name in row)
    scores = np.array([max((rows_with[n] for n in row), default=0) for row in names])
    return simple("name-scrubbing", scores.astype(np.float64), scores > 0)
