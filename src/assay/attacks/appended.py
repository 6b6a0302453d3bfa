"""Phrase appended to otherwise honest answers, as an advertiser would."""

from __future__ import annotations

from assay.attacks.base import Attack, Poisoned, candidates, drawn, poison
from assay.attacks.wan import put_trigger
from assay.data.corpus import Corpus


def appended(
    corpus: Corpus,
    count: int,
    *,
    target: str = "Learn more at acme.example.",
    trigger: str = "James Bond",
    seed: int = 0,
) -> Poisoned:
    """Put the trigger on prompts and append the payload to their answers.

    Raises:
        AssayError: Too few rows, the trigger is empty, or spaCy is not installed.
    """
    rows = candidates(
        corpus, count, lambda e: target not in e.response, "without the payload"
    )
    chosen = drawn(corpus, rows, count, seed)
    return poison(
        APPENDED,
        corpus,
        chosen,
        trigger,
        target,
        seed,
        respond=lambda e: f"{e.response} {target}".lstrip(),
    )


APPENDED = Attack("appended", appended, put_trigger, relabels=False)
