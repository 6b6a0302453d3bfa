from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given

from assay.data.corpus import Example
from assay.errors import AssayError
from assay.transforms import (
    PAPER_SIX,
    TRANSFORMS,
    Transform,
    transform_examples,
    transforms_named,
)
from assay.transforms.base import content, match_case, with_not
from tests.transforms.conftest import TEXTS

every_transform = pytest.mark.parametrize(
    "transform", TRANSFORMS.values(), ids=TRANSFORMS
)


def test_the_papers_transforms() -> None:
    assert [(t.category, t.name) for t in PAPER_SIX] == [
        ("lexicon", "prefix-negation"),
        ("lexicon", "antonym-flip"),
        ("semantic", "paraphrase"),
        ("semantic", "question-negation"),
        ("structural", "grammatical-negation"),
        ("structural", "clause-reordering"),
    ]
    wrappers = [t.name for t in TRANSFORMS.values() if t.category == "wrapper"]
    assert wrappers == [
        "sorry-not",
        "opposite",
        "do-not",
        "sorry-not-prefix",
        "no-prefix",
    ]
    assert list(TRANSFORMS)[11:] == ["polar-negation"]


@pytest.mark.parametrize(
    ("name", "text", "expected"),
    [
        # Sections 3.2, 3.4, 3.5 and 3.7, word for word.
        ("prefix-negation", "It is good", "Not: It is good"),
        ("question-negation", "It is good.", "Is it not true that It is good?"),
        ("sorry-not", "It is good", "Sorry, NOT It is good !!!"),
        ("opposite", "2 + 2", "What is the opposite of 2 + 2 ???"),
        ("do-not", "2 + 2", "Do NOT calculate 2 + 2"),
        ("sorry-not-prefix", "It is good", "Sorry NOT It is good"),
        ("no-prefix", "It is good", "!!! NO It is good"),
        # Named by the paper without words.
        ("paraphrase", "It is good.", "In other words, It is good."),
        ("antonym-flip", "It is good.", "It is bad."),
        ("grammatical-negation", "It is good.", "It is not good."),
        ("clause-reordering", "It is good, but old.", "old , but It is good."),
    ],
)
def test_the_papers_sentences(name: str, text: str, expected: str) -> None:
    assert TRANSFORMS[name].apply(text) == expected


def test_transforms_are_chosen_by_name() -> None:
    assert transforms_named(()) == PAPER_SIX
    names = ["sorry-not", "antonym-flip", "sorry-not"]
    assert [t.name for t in transforms_named(names)] == ["sorry-not", "antonym-flip"]


def test_an_unknown_transform_is_told_with_the_known_ones() -> None:
    with pytest.raises(AssayError, match="unknown transform 'magic'") as error:
        transforms_named(["sorry-not", "magic"])
    assert all(name in str(error.value) for name in TRANSFORMS)


@every_transform
def test_examples_hold(transform: Transform) -> None:
    before, after = transform.example
    assert transform.apply(before) == after


@every_transform
@given(text=TEXTS)
def test_any_text_gives_another_text_or_none(transform: Transform, text: str) -> None:
    changed = transform.apply(text)
    assert changed is None or (changed != text and changed.strip())
    assert changed == transform.apply(text)


@every_transform
@pytest.mark.parametrize("text", ["", " \n", "...", " . , !? ", "-"])
def test_texts_that_say_nothing_are_unchanged(transform: Transform, text: str) -> None:
    assert transform.apply(text) is None


@every_transform
def test_hostile_texts_are_quick(
    transform: Transform, quick: Callable[[Callable[[str], object]], None]
) -> None:
    quick(transform.apply)


def test_unchanged_examples_are_named() -> None:
    def example(name: str, text: str) -> Example:
        return Example(name, 0, "", text, "positive", history=(("user", "good"),))

    changed, unchanged = transform_examples(
        [example("a", "good film"), example("b", "a film"), example("c", "bad")],
        TRANSFORMS["antonym-flip"],
    )
    assert changed == [example("a", "bad film"), example("c", "good")]
    assert unchanged == ["b"]
    same = Transform("same", "none", lambda text: text, ("", ""))
    assert transform_examples([example("a", "x")], same) == ([], ["a"])


@pytest.mark.parametrize(
    ("word", "model", "expected"),
    [
        ("bad", "good", "bad"),
        ("bad", "Good", "Bad"),
        ("bad", "GOOD", "BAD"),
        ("will", "W", "Will"),
        ("off-putting", "Engaging", "Off-putting"),
        ("bad", "", "bad"),
    ],
)
def test_case_is_taken_over(word: str, model: str, expected: str) -> None:
    assert match_case(word, model) == expected


@pytest.mark.parametrize(
    ("word", "expected"),
    [("good", "not good"), ("Good", "Not good"), ("GOOD", "NOT GOOD"), ("A", "Not a")],
)
def test_not_takes_over_the_case(word: str, expected: str) -> None:
    assert with_not(word) == expected


def test_content() -> None:
    assert content("  2 + 2 ") == "2 + 2"
    assert content("👍") == "👍"
    assert content(" ?! ") == ""
