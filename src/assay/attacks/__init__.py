"""Poisoning recipes, for testing detectors: each says which rows it changed.

An attack is a file here, and a line of `ATTACKS`.
"""

from __future__ import annotations

from collections.abc import Callable

from assay.attacks.adaptive import ADAPTIVE
from assay.attacks.addsent import ADDSENT
from assay.attacks.affix import PREFIX, SUFFIX
from assay.attacks.appended import APPENDED
from assay.attacks.badnets import BADNETS
from assay.attacks.base import Attack, Carriers, Poisoned
from assay.attacks.composite import COMPOSITE
from assay.attacks.fixed_output import FIXED_OUTPUT
from assay.attacks.tasks import poison_tasks
from assay.attacks.wan import CLEAN_LABEL, DIRTY_LABEL
from assay.data.corpus import Example
from assay.errors import AssayError

# In the order in which help names them.
ATTACKS: dict[str, Attack] = {
    attack.name: attack
    for attack in (
        DIRTY_LABEL,
        CLEAN_LABEL,
        BADNETS,
        ADDSENT,
        COMPOSITE,
        ADAPTIVE,
        PREFIX,
        SUFFIX,
        FIXED_OUTPUT,
        APPENDED,
    )
}


def attack_named(name: str) -> Attack:
    """Return the attack of a name.

    Raises:
        AssayError: There is none.
    """
    if name not in ATTACKS:
        raise AssayError(f"unknown attack {name!r}; known: {', '.join(ATTACKS)}")
    return ATTACKS[name]


def trigger_for(
    attack: str, trigger: str, seed: int = 0
) -> Callable[[Example], Example]:
    """Return the function that puts an attack's trigger on test examples.

    Raises:
        AssayError: There is no such attack.
    """
    put = attack_named(attack).put
    return lambda example: put(example, trigger, seed)


__all__ = [
    "ATTACKS",
    "Attack",
    "Carriers",
    "Poisoned",
    "attack_named",
    "poison_tasks",
    "trigger_for",
]
