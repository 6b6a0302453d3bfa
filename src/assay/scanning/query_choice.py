"""Which of the test inputs the influences are measured on."""

from __future__ import annotations

import random
from collections.abc import Iterable, Sequence

from assay.data.corpus import Example
from assay.errors import AssayError
from assay.text.pattern import Pattern


def concentration(example: Example, patterns: Iterable[Pattern]) -> float:
    """Occurrences of patterns in an input, a word of the input.

    The paper does not say how it measures concentration; this is its plainest sense.
    """
    text = example.text
    words = len(text.split())
    return sum(len(p.spans(text)) for p in patterns) / words if words else 0.0


def ordered(
    examples: Sequence[Example], patterns: Sequence[Pattern] | None, seed: int
) -> list[Example]:
    """Order test inputs, the ones to use first.

    Args:
        examples: The inputs.
        patterns: What they should carry, as much of it as can be; None is any input.
        seed: Seed of the order of inputs that carry as much.

    Raises:
        AssayError: No input carries any of the patterns.
    """
    order = list(examples)
    random.Random(seed).shuffle(order)
    if patterns is None:
        return order
    dense = {id(e): concentration(e, patterns) for e in order}
    carrying = [e for e in order if dense[id(e)]]
    if not carrying:
        shown = ", ".join(repr(str(p)) for p in patterns[:3]) or "none at all"
        raise AssayError(
            f"none of {len(order)} test inputs carries the words they are chosen by "
            f"({shown}); give others with --queries, or --query-choice random"
        )
    return sorted(carrying, key=lambda e: -dense[id(e)])
