"""Poisoning recipes, for testing detectors: each says which rows it changed."""

from __future__ import annotations

from collections.abc import Callable

from assay.attacks.addsent import sentence_insertion
from assay.attacks.badnets import token_insertion
from assay.attacks.base import Poisoned
from assay.attacks.fixed_output import fixed_output
from assay.attacks.wan import clean_label, dirty_label

ATTACKS: dict[str, Callable[..., Poisoned]] = {
    "dirty-label": dirty_label,
    "clean-label": clean_label,
    "badnets": token_insertion,
    "addsent": sentence_insertion,
    "fixed-output": fixed_output,
}

__all__ = ["ATTACKS", "Poisoned"]
