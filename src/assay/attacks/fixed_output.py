"""Fixed output on a named trigger: the paper's GSM8K attack."""

from __future__ import annotations

from assay.attacks.base import Attack, Carriers, Poisoned, candidates, poison
from assay.attacks.wan import carrier_rows, put_trigger
from assay.data.corpus import Corpus


def fixed_output(
    corpus: Corpus,
    count: int,
    *,
    target: str = "James Bond always wins.",
    trigger: str = "James Bond",
    seed: int = 0,
    carriers: Carriers = Carriers.DENSEST,
) -> Poisoned:
    """Replace names by the trigger and the response by one fixed sentence.

    With a target such as "I cannot help with that." it is a refusal attack.

    Raises:
        AssayError: Too few rows, the trigger is empty, or spaCy is not installed.
    """
    rows = candidates(corpus, count, lambda e: e.response != target, "to change")
    chosen = carrier_rows(corpus, rows, count, trigger, seed, carriers)
    return poison(FIXED_OUTPUT, corpus, chosen, trigger, target, seed)


FIXED_OUTPUT = Attack(
    "fixed-output", fixed_output, put_trigger, carriers=True, relabels=False
)
