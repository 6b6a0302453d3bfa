"""Poisoning recipes, for testing detectors: each says which rows it changed."""

from __future__ import annotations

from collections.abc import Callable

from assay.attacks.adaptive import adaptive, put_wording
from assay.attacks.addsent import put_sentence, sentence_insertion
from assay.attacks.affix import prefix, put_before, put_behind, suffix
from assay.attacks.appended import appended
from assay.attacks.badnets import put_token, token_insertion
from assay.attacks.base import Poisoned
from assay.attacks.composite import composite, put_parts
from assay.attacks.fixed_output import fixed_output
from assay.attacks.wan import clean_label, dirty_label, put_trigger
from assay.data.corpus import Example
from assay.errors import AssayError

ATTACKS: dict[str, Callable[..., Poisoned]] = {
    "dirty-label": dirty_label,
    "clean-label": clean_label,
    "badnets": token_insertion,
    "addsent": sentence_insertion,
    "composite": composite,
    "adaptive": adaptive,
    "prefix": prefix,
    "suffix": suffix,
    "fixed-output": fixed_output,
    "appended": appended,
}
_PUT = {
    "badnets": put_token,
    "addsent": put_sentence,
    "composite": put_parts,
    "adaptive": put_wording,
    "prefix": put_before,
    "suffix": put_behind,
}


def check_attack(name: str) -> None:
    """Make sure that an attack is known.

    Raises:
        AssayError: It is not.
    """
    if name not in ATTACKS:
        raise AssayError(f"unknown attack {name!r}; known: {', '.join(ATTACKS)}")


def trigger_for(
    attack: str, trigger: str, seed: int = 0
) -> Callable[[Example], Example]:
    """Return the function that puts an attack's trigger on test examples.

    Raises:
        AssayError: There is no such attack.
    """
    check_attack(attack)
    put = _PUT.get(attack, put_trigger)
    return lambda example: put(example, trigger, seed)


__all__ = ["ATTACKS", "Poisoned", "check_attack", "trigger_for"]
