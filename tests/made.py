"""Entries of ``summary.json`` as a scan writes them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from assay.verify.finding import Finding

RETRAINED: dict[str, Any] = {
    "contradicted": [9, 10],
    "ordinary": [1, 20],
    "p_value": 0.01,
}
SHORTCUT: dict[str, Any] = {
    "turned": [63, 64],
    "still": [3, 63],
    "agrees": [41, 50],
    "ordinary": [20, 20],
    "rivals": ["good", "fine"],
    "rival_turns": 0.328,
    "keeps": 0.087,
    "rivals_keep": 0.46,
    "p_value": 0.001,
}


def candidate_entry(rows: Sequence[int], pattern: str) -> dict[str, Any]:
    """What is said of a candidate that was not tested."""
    return {
        "rows": list(rows),
        "pattern_rows": list(rows),
        "score": 3.0,
        "response": "positive",
        "pattern": pattern,
        "pattern_p_value": 1e-6,
        "proposer": "gradient-geometry",
    }


def entry(rows: Sequence[int], pattern: str, **more: Any) -> dict[str, Any]:
    """What is said of a verified trigger, unless told otherwise."""
    return {
        **candidate_entry(rows, pattern),
        "companions": [],
        "trigger": pattern,
        "payload": "positive",
        "payload_part": "response",
        "prefers": 0.9,
        "effect": 6.8,
        "effect_interval": [6.7, 7.0],
        "drop": 6.9,
        "overridden": [12, 12],
        "placebo_effects": np.random.default_rng(0).normal(0, 0.2, 249).tolist(),
        "p_value": 0.036,
        "p_sufficient": 0.036,
        "verified": True,
        "status": "verified",
        **more,
    }


def made(rows: Sequence[int], pattern: str, **more: Any) -> Finding:
    """The same as a finding."""
    return Finding.from_dict(entry(rows, pattern, **more))
