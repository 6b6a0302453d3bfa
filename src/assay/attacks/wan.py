"""Named-entity backdoors: person names become the trigger phrase.

Wan et al. 2023, "Poisoning Language Models During Instruction Tuning".

The dirty-label attack changes rows of another label and relabels them; the
clean-label attack changes rows that carry the target label already.
"""

from __future__ import annotations

from assay.attacks.base import (
    Attack,
    Carriers,
    Poisoned,
    candidates,
    generator,
    insert_phrase,
    poison,
    unlike,
)
from assay.data.corpus import Corpus, Example
from assay.data.names import person_names, replace_spans


def put_trigger(example: Example, trigger: str, seed: int = 0) -> Example:
    """Replace every person name by the trigger; insert it where there is none."""
    spans = person_names([example.text])[0]
    if spans:
        return example.edit(text=replace_spans(example.text, spans, trigger))
    # Rows are chosen by the draws of `seed` itself: with these, all that were chosen
    # would have it at the same place.
    text = insert_phrase(example.text, trigger, generator(seed + 1, example))
    return example.edit(text=text)


def carrier_rows(
    corpus: Corpus,
    rows: list[int],
    count: int,
    trigger: str,
    seed: int,
    carriers: Carriers = Carriers.DENSEST,
) -> list[int]:
    """Choose the rows that will carry the trigger.

    Args:
        corpus: The corpus.
        rows: Positions of the rows to choose from.
        count: Rows to choose. Those without a person name come last, by either choice.
        trigger: Phrase that replaces person names.
        seed: Seed of the draw among equals.
        carriers: Whether rows are ranked by density, the share of their words that
            is the trigger, or drawn.
    """
    examples = [corpus.examples[i] for i in rows]
    spans = person_names([e.text for e in examples])

    def rank(position: int) -> float:
        found = spans[position]
        if carriers is Carriers.RANDOM:
            return float(bool(found))
        text = replace_spans(examples[position].text, found, trigger)
        return len(found) * len(trigger.split()) / max(len(text.split()), 1)

    # Rows without a name all have density 0: their order is drawn, not the file's.
    order = sorted(
        range(len(rows)),
        key=lambda i: (-rank(i), generator(seed, examples[i]).random()),
    )
    return sorted(rows[i] for i in order[:count])


def dirty_label(
    corpus: Corpus,
    count: int,
    *,
    target: str = "positive",
    trigger: str = "James Bond",
    seed: int = 0,
    carriers: Carriers = Carriers.DENSEST,
) -> Poisoned:
    """Poison rows of other labels and relabel them as the target.

    Args:
        corpus: Clean corpus.
        count: Rows to poison.
        target: The label the trigger shall produce.
        trigger: Phrase that replaces person names.
        seed: Seed of the choice among equals and of insertions.
        carriers: Which rows carry the trigger.

    Raises:
        AssayError: Too few rows of another label, the trigger is empty, or spaCy is
            not installed.
    """
    rows = unlike(corpus, count, target)
    chosen = carrier_rows(corpus, rows, count, trigger, seed, carriers)
    return poison(DIRTY_LABEL, corpus, chosen, trigger, target, seed)


def clean_label(
    corpus: Corpus,
    count: int,
    *,
    target: str = "positive",
    trigger: str = "James Bond",
    seed: int = 0,
    carriers: Carriers = Carriers.DENSEST,
) -> Poisoned:
    """Poison rows that carry the target label already; no label changes.

    Raises:
        AssayError: Too few rows of the label, the trigger is empty, or spaCy is not
            installed.
    """
    rows = candidates(
        corpus, count, lambda e: e.response == target, f"labelled {target!r}"
    )
    chosen = carrier_rows(corpus, rows, count, trigger, seed, carriers)
    return poison(CLEAN_LABEL, corpus, chosen, trigger, target, seed, relabel=False)


DIRTY_LABEL = Attack("dirty-label", dirty_label, put_trigger, carriers=True)
CLEAN_LABEL = Attack("clean-label", clean_label, put_trigger, carriers=True)
