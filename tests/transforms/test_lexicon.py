from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from assay.transforms.lexicon import (
    _PAIRS,
    ANTONYMS,
    antonym_flip,
    polar_negation,
    prefix_negation,
)


def test_every_word_is_in_one_pair() -> None:
    words = _PAIRS.replace("|", " ").split()
    assert len(words) == len(set(words)) == len(ANTONYMS)
    assert all(ANTONYMS[ANTONYMS[w]] == w != ANTONYMS[w] for w in words)


@given(
    st.lists(
        st.sampled_from(sorted(ANTONYMS)).flatmap(
            lambda w: st.sampled_from([w, w.upper(), w[0].upper() + w[1:]])
        ),
        min_size=1,
    ).map(" ".join)
)
def test_flipping_twice_gives_the_text_back(text: str) -> None:
    once = antonym_flip(text)
    assert once is not None
    assert antonym_flip(once) == text


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Good, GOOD; good.", "Bad, BAD; bad."),
        ("the best and the worst", "the worst and the best"),
        ("an engaging film", "an off-putting film"),
        ("an off-putting film", "an engaging film"),
        # Parts of words are not words.
        ("goods, feel-good and amélie", None),
        ("good_name x2good", None),
        ("the good's", None),
        ("no polar word", None),
    ],
)
def test_antonym_flip(text: str, expected: str | None) -> None:
    assert antonym_flip(text) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a likable and good film", "a unlikable and not good film"),
        ("Unlikable", "Likable"),
        ("INCREDIBLE", "CREDIBLE"),
        ("Good film", "Not good film"),
        ("GOOD film", "NOT GOOD film"),
        # A negation already there goes, and none is doubled.
        ("it is not good", "it is good"),
        ("Not good, NOT  GOOD", "Good, GOOD"),
        ("not likable", "likable"),
        ("not not good", "not good"),
        ("not all", None),
        ("never seen", None),
        ("it never ends with all", None),
        ("not-so-good", None),
        ("knot good", "knot not good"),
        ("not", None),
    ],
)
def test_polar_negation(text: str, expected: str | None) -> None:
    assert polar_negation(text) == expected


@given(st.lists(st.sampled_from(["good", "not good", "never", "a", "Not"])))
def test_no_negation_is_doubled(words: list[str]) -> None:
    before = " ".join(words).lower()
    after = (polar_negation(" ".join(words)) or "").lower()
    assert after.count("not not") <= before.count("not not")
    assert "not never" not in after or "not never" in before


def test_the_prefix_goes_before_the_text_without_its_outer_space() -> None:
    assert prefix_negation(" A good film .\n") == "Not: A good film ."
    assert prefix_negation("not good") == "Not: not good"
