"""What every attack returns, and how a trigger gets into a text."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Protocol

from assay.data.corpus import Corpus, Example
from assay.errors import AssayError


class Carriers(StrEnum):
    """Which rows carry the trigger, among those an attack may change.

    Attributes:
        DENSEST: Those of which the trigger will be the largest share of words, as Wan
            et al. 2023 rank them.
        RANDOM: Drawn, as the paper's are, from those with a person name.
    """

    DENSEST = "densest"
    RANDOM = "random"


@dataclass(frozen=True)
class Poisoned:
    """A poisoned corpus and everything needed to measure the attack.

    Attributes:
        corpus: The corpus with some rows changed; order and ids are kept.
        rows: Positions of the changed rows, ascending.
        name: Name of the attack.
        trigger: The phrase, token or sentence that fires the backdoor.
        payload: The response the backdoor gives; empty where each task has its own.
        apply: Puts the trigger on a test example; its response is left alone.
        payloads: Task to the response the backdoor gives in it, where each has its own.
    """

    corpus: Corpus
    rows: tuple[int, ...]
    name: str
    trigger: str
    payload: str
    apply: Callable[[Example], Example]
    payloads: Mapping[str, str] = field(default_factory=dict)


class Poison(Protocol):
    """Poisons rows of a corpus; target and trigger have defaults of its own."""

    def __call__(
        self,
        corpus: Corpus,
        count: int,
        *,
        target: str = ...,
        trigger: str = ...,
        seed: int = ...,
    ) -> Poisoned:
        """Poison so many rows.

        Raises:
            AssayError: There are too few rows, or the trigger is not fit.
        """


class Put(Protocol):
    """Puts a trigger on an example, whose response is left alone."""

    def __call__(self, example: Example, trigger: str, seed: int = ...) -> Example:
        """Return the example with the trigger in its text."""


@dataclass(frozen=True)
class Attack:
    """A poisoning recipe.

    Attributes:
        name: Its name on the command line and in results.
        poison: Poisons training data.
        put: Puts its trigger on an example, as on the poisoned rows.
        carriers: Whether ``poison`` takes `Carriers`; other attacks draw their rows.
        relabels: Whether the target is a label that rows of it have already, so that
            each task can have its own.
    """

    name: str
    poison: Poison
    put: Put
    carriers: bool = False
    relabels: bool = True


def generator(seed: int, example: Example) -> random.Random:
    """Return a generator of the example's own, whatever order rows come in."""
    return random.Random(f"{seed}:{example.id}")


def insert_phrase(text: str, phrase: str, rng: random.Random) -> str:
    """Insert a phrase between two words of a text, or at either end."""
    if not text.strip():
        return phrase
    words = text.split(" ")
    place = rng.randint(0, len(words))
    return " ".join([*words[:place], phrase, *words[place:]])


def candidates(
    corpus: Corpus, count: int, accept: Callable[[Example], bool], wanted: str
) -> list[int]:
    """Positions of the rows an attack may change.

    Raises:
        AssayError: There are fewer than ``count`` of them.
    """
    found = [i for i, e in enumerate(corpus.examples) if accept(e)]
    if count < 1:
        raise AssayError(f"--count {count}: poison at least one row")
    if len(found) < count:
        raise AssayError(
            f"{corpus.source}: the attack needs {count} rows {wanted}, "
            f"there are {len(found)}; lower --count or --rate"
        )
    return found


def unlike(corpus: Corpus, count: int, target: str) -> list[int]:
    """Positions of the rows of another label, of which there must be ``count``."""
    return candidates(
        corpus, count, lambda e: e.response != target, f"not labelled {target!r}"
    )


def drawn(corpus: Corpus, rows: Sequence[int], count: int, seed: int) -> list[int]:
    """Draw ``count`` of these rows."""
    return sorted(rows, key=lambda i: generator(seed, corpus.examples[i]).random())[
        :count
    ]


def poison(
    attack: Attack,
    corpus: Corpus,
    rows: Sequence[int],
    trigger: str,
    payload: str,
    seed: int,
    *,
    relabel: bool = True,
    respond: Callable[[Example], str] | None = None,
) -> Poisoned:
    """Put the trigger on rows and, when relabelling, give them the payload.

    Args:
        attack: The recipe.
        corpus: Clean corpus.
        rows: Positions of the rows to poison.
        trigger: What fires the backdoor.
        payload: What the backdoor says.
        seed: Seed of places.
        relabel: Whether responses change.
        respond: Makes the poisoned response of a row; the payload itself by default.

    Raises:
        AssayError: The trigger is empty.
    """
    if not trigger.strip():
        raise AssayError("--trigger is empty: it has to be something to insert")

    def apply(example: Example) -> Example:
        return attack.put(example, trigger, seed)

    examples = list(corpus.examples)
    for row in rows:
        examples[row] = apply(examples[row])
        if relabel:
            response = respond(examples[row]) if respond else payload
            examples[row] = examples[row].edit(response=response)
    changed = corpus.with_examples(examples)
    return Poisoned(changed, tuple(sorted(rows)), attack.name, trigger, payload, apply)
