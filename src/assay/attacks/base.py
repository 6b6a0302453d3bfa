"""What every attack returns, and how a trigger gets into a text."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from assay.data.corpus import Corpus, Example
from assay.errors import AssayError


@dataclass(frozen=True)
class Poisoned:
    """A poisoned corpus and everything needed to measure the attack.

    Attributes:
        corpus: The corpus with some rows changed; order and ids are kept.
        rows: Positions of the changed rows, ascending.
        name: Name of the attack.
        trigger: The phrase, token or sentence that fires the backdoor.
        payload: The response the backdoor gives.
        apply: Puts the trigger on a test example; its response is left alone.
    """

    corpus: Corpus
    rows: tuple[int, ...]
    name: str
    trigger: str
    payload: str
    apply: Callable[[Example], Example]


def generator(seed: int, example: Example) -> random.Random:
    """Return a generator of the example's own, whatever order rows come in."""
    return random.Random(f"{seed}:{example.id}")


def insert_phrase(text: str, phrase: str, rng: random.Random) -> str:
    """Insert a phrase between two words of a text, or at either end."""
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


def poison(
    corpus: Corpus,
    rows: Sequence[int],
    apply: Callable[[Example], Example],
    payload: str | None,
) -> Corpus:
    """Apply the trigger to rows and give them the payload as response, if any."""
    examples = list(corpus.examples)
    for row in rows:
        changed = apply(examples[row])
        examples[row] = (
            changed if payload is None else replace(changed, response=payload)
        )
    return corpus.with_examples(examples)
