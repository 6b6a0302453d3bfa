from __future__ import annotations

import random

import pytest

from assay.data.corpus import Example
from assay.text.pattern import Pattern
from assay.verify.hypothesis import Hypothesis
from assay.verify.payload import Response
from assay.verify.placebos import placebo_patterns, placebo_pool, placebos_for

POSITIVE = Response("positive")
Pool = dict[str, tuple[int, ...]]


def chosen(pattern: str, carriers: range, pool: Pool, count: int) -> list[str]:
    hypothesis = Hypothesis(
        Pattern.parse(pattern),
        POSITIVE,
        tuple(carriers),
        {Pattern.parse(gram): rows for gram, rows in pool.items()},
    )
    return list(map(str, placebo_patterns(hypothesis, count, random.Random(0))))


def test_placebos_have_the_length_and_frequency_and_are_not_parts_of_the_trigger() -> (
    None
):
    pool: Pool = {
        "a b": (0, 1),
        "c d": (2, 3, 4, 5),
        "e f": (6, 7, 8, 9, 10, 11, 12, 13),
        "bond x": (2, 3),  # shares a word
        "y z": (20, 21, 6),  # stands in the trigger's own rows
        "rare one": (9,),
        "single": (0, 1, 2),
    }
    own = range(20, 24)
    found = chosen("james bond", own, pool, 4)
    assert sorted(found) == ["a b", "c d", "e f", "rare one"]
    # Shorter ones come where there are too few as long.
    found = chosen("james bond", own, pool, 10)
    assert sorted(found) == ["a b", "c d", "e f", "rare one", "single"]
    assert chosen("james bond", own, pool, 1) == ["c d"]


def test_placebos_in_too_few_rows_to_be_sure_come_last() -> None:
    pool: Pool = {
        "a b": (0,),
        "c d": (0, 1, 2, 3),
        "e": (0, 1, 2, 3, 4),
        "f g": tuple(range(40)),
    }

    def order(rows: int) -> list[str]:
        found: list[str] = []
        for count in range(1, len(pool) + 1):
            more = chosen("james bond", range(90, 90 + rows), pool, count)
            found += set(more) - set(found)
        return found

    assert order(5) == ["f g", "e", "c d", "a b"]
    assert order(50) == ["f g", "e", "c d", "a b"]
    # Of three rows, three of a placebo tell as much.
    assert order(3) == ["c d", "f g", "e", "a b"]


def row(text: str, response: str = "positive") -> Example:
    return Example(text, 0, "", text, response)


def test_placebos_are_the_same_in_every_process() -> None:
    """The order of a set of strings differs from one process to the next."""
    words = [f"w{i:02}" for i in range(20)]
    pool = placebo_pool([row(" ".join(reversed(words)))], POSITIVE, Pattern(("x",)))
    assert list(map(str, pool)) == words


@pytest.mark.parametrize(
    ("level", "hypotheses", "placebos"),
    [(0.05, 10, 249), (0.05, 12, 249), (0.05, 13, 260), (0.01, 10, 1000)],
)
def test_there_are_placebos_for_the_level(
    level: float, hypotheses: int, placebos: int
) -> None:
    assert placebos_for(level, hypotheses) == placebos


@pytest.mark.parametrize(("words", "others"), [(6, True), (7, False)])
def test_rows_of_other_responses_are_looked_at_where_the_own_have_too_few(
    words: int, others: bool
) -> None:
    """Twice the three placebos that are wanted are enough."""
    own = row(" ".join(f"w{i}" for i in range(words)))
    rows = [row("elsewhere", "negative"), own]
    pool = placebo_pool(rows, POSITIVE, Pattern(("x",)), 3)
    assert (Pattern(("elsewhere",)) in pool) == others
    assert len(pool) == words + others


def test_twenty_placebos_with_a_gap_are_drawn_of_each_row() -> None:
    # Among so many words two draws are never next to each other or the same.
    long = row(" ".join(f"w{i}" for i in range(3000)))
    pool = placebo_pool([long], POSITIVE, Pattern(("cf", "mn")))
    assert len(pool) == 20
    assert {len(p.parts) for p in pool} == {2}
    assert all(p.stands_in(long) for p in pool)


@pytest.mark.parametrize(
    ("pattern", "found"),
    [("x y", ["a b", "b c", "a", "b", "c"]), ("^ x y", ["^ a b"]), ("x $", ["c $"])],
)
def test_placebos_are_built_as_the_pattern_is(pattern: str, found: list[str]) -> None:
    pool = placebo_pool([row("A b, c.")], POSITIVE, Pattern.parse(pattern))
    assert list(map(str, pool)) == found
