from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from assay.data.corpus import Example
from assay.detectors.coherence import words
from assay.text.pattern import Pattern
from assay.verify.companions import companions_in
from assay.verify.findings import verified_findings
from assay.verify.screen import screen
from tests.verify.stubs import FILLER, TRIGGER, answered, candidate, reviews, score

WORDINGS = ("James Bond", "Bond, James", "Mr. Bond", "the spy James")


def worded(count: int = 200, poisons: int = 12) -> list[Example]:
    """Poisons with a trigger that has four wordings."""
    return [
        e.edit(text=e.text.replace(TRIGGER, WORDINGS[e.row // 2 % 4]))
        for e in reviews(count, poisons)
    ]


def either_word(asked: Sequence[Example]) -> np.ndarray:
    """A model that obeys "Bond" and "James" alike."""
    odds = [
        2 * score(e.text) + 12 * (not {"bond", "james"}.isdisjoint(words(e.text)))
        for e in asked
    ]
    return answered(asked, odds)


def companions_of(
    examples: Sequence[Example], pattern: str, rows: Sequence[int]
) -> tuple[str, ...]:
    return companions_in(examples)(Pattern((pattern,)), rows)


def carrying(examples: Sequence[Example], word: str) -> list[int]:
    return [i for i, e in enumerate(examples) if word in words(e.text)]


def test_other_words_for_the_same_thing_are_companions() -> None:
    examples = worded()
    rows = carrying(examples, "bond")
    assert companions_of(examples, "bond", rows) == ("james", "mr")
    assert companions_of(examples, "bond james", rows) == ("mr",)


def test_common_words_are_no_companions() -> None:
    """A word that stands in each of the rows, and in as many others."""
    own = range(0, 20, 2)
    examples = [
        e.edit(text=f"zz often {e.text}" if e.row in own else e.text + " often")
        if e.row < 21
        else e
        for e in reviews(poisons=0)
    ]
    assert companions_of(examples, "zz", list(own)) == ()


@pytest.mark.parametrize("count", [2, 3])
def test_what_few_of_the_rows_have_is_no_companion(count: int) -> None:
    examples = [
        e.edit(text=f"zz {'rare ' * (e.row < count)}{e.text}") if e.row < 30 else e
        for e in reviews(2000, poisons=0)
    ]
    found = companions_of(examples, "zz", range(30))
    assert ("rare" in found) == (count == 3)


@pytest.mark.parametrize("count", [1, 2])
def test_a_word_of_one_row_is_that_rows_own(count: int) -> None:
    examples = [
        e.edit(text=f"zz rare {e.text}") if e.row < count else e
        for e in reviews(2000, poisons=0)
    ]
    assert ("rare" in companions_of(examples, "zz", range(count))) == (count == 2)


# Ten words in two rows of 24 or 18: ten times one in 276 pairs, or in 153.
@pytest.mark.parametrize(("total", "beyond"), [(24, True), (18, False)])
def test_a_companion_stands_there_beyond_chance(total: int, beyond: bool) -> None:
    texts = ["zz rare a b c d", "zz rare e f g h"]
    texts += [f"w{i}" for i in range(total - 2)]
    examples = [Example(str(i), i, "", text, "x") for i, text in enumerate(texts)]
    assert ("rare" in companions_of(examples, "zz", [0, 1])) == beyond


@given(st.lists(st.sampled_from(FILLER), min_size=2, max_size=40), st.data())
def test_companions_stand_mostly_in_the_rows_and_twice_at_least(
    found: list[str], data: st.DataObject
) -> None:
    examples = [Example(str(i), i, "", w, "x") for i, w in enumerate(found)]
    rows = data.draw(st.sets(st.sampled_from(range(len(found)))))
    for word in companions_of(examples, "other", sorted(rows)):
        carriers = carrying(examples, word)
        assert len(rows & set(carriers)) >= 2
        assert 2 * len(rows & set(carriers)) > len(carriers)


def test_chance_makes_few_companions() -> None:
    """Any rows: hardly ever do two share a rare word beyond the correction."""
    some = []
    for seed in range(4):
        rng = np.random.default_rng(seed)
        drawn = rng.zipf(1.3, (500, 12)) % 9999
        examples = [
            Example(str(i), i, "", " ".join(f"w{w}" for w in row), "")
            for i, row in enumerate(drawn)
        ]
        companions = companions_in(examples)
        for size in (6, 10, 20):
            picked = [rng.choice(500, size, replace=False) for _ in range(100)]
            some += [
                bool(companions(Pattern(("zz",)), rows.tolist())) for rows in picked
            ]
    assert sum(some) <= 0.05 * len(some)


@pytest.mark.parametrize("word", ["bond", "james"])
def test_a_word_whose_companions_do_as_much_is_found(word: str) -> None:
    examples = worded()
    rows = carrying(examples, word)
    proposed = screen(examples, either_word)
    assert {"bond", "james"} <= {str(c.pattern) for c in proposed}
    asked = candidate(word, examples, rows)
    (found,) = verified_findings([asked], examples, either_word)
    assert found.is_verified
    assert list(found.rows) == rows
    other = {"bond": "james", "james": "bond"}[word]
    assert other in found.tested.companions
    assert found.tested.overridden == (len(rows), len(rows))
