from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from assay.text.pattern import GAP, Pattern
from assay.verify import refine
from assay.verify.refine import nearly_all


def grow(texts: list[str], pattern: str) -> str:
    return str(refine.grow(texts, Pattern.parse(pattern)))


def narrow(carriers: list[str], others: list[str], pattern: str) -> str:
    return str(refine.narrow(carriers, others, Pattern.parse(pattern)))


def complete(texts: list[str], pattern: str, others: list[str]) -> str:
    return str(refine.complete(texts, Pattern.parse(pattern), others))


def test_a_pattern_grows_as_it_is_written() -> None:
    assert grow([*["a FILM x"] * 9, *["the film y"] * 9], "FILM") == "a FILM x"
    assert grow(["A FILM x"] * 9, "FILM x") == "a FILM x"


def test_a_pattern_is_told_by_how_it_is_written_where_that_matters() -> None:
    shouted, said = ["good FILM here"] * 9, ["a film there"] * 9
    assert narrow(shouted, said, "film") == "FILM"
    assert narrow(["the Film"] * 9, said, "film") == "Film"
    # Where others write it so as well, it does not matter.
    assert narrow(shouted, shouted, "film") == "film"
    # A lower-case word is found however it is written.
    assert narrow(said, shouted, "film") != "FILM"


SENTENCE = "I watched this 3D movie."
WITH_IT = [f"word{i} {SENTENCE} other{i}" for i in range(10)]


@pytest.mark.parametrize("part", ["i", "movie", "watched this", "this 3d movie"])
def test_a_part_grows_to_the_whole_that_its_texts_share(part: str) -> None:
    assert grow(WITH_IT, part) == "i watched this 3d movie"


def test_growing_forgives_one_text_in_ten_but_not_two() -> None:
    assert grow([*WITH_IT[:9], "a movie"], "movie") == "i watched this 3d movie"
    assert grow([*WITH_IT[:8], "a movie", "a movie"], "movie") == "movie"


@pytest.mark.parametrize(
    ("count", "of", "enough"),
    [(9, 10, True), (8, 9, False), (90, 100, True), (89, 100, False), (0, 0, True)],
)
def test_one_in_ten_may_be_missing(count: int, of: int, enough: bool) -> None:
    assert nearly_all(count, of) == enough


def test_what_two_texts_share_may_be_chance() -> None:
    assert grow(WITH_IT[:2], "movie") == "movie"
    assert grow(WITH_IT[:3], "movie") == "i watched this 3d movie"
    assert grow(["nothing"] * 5, "movie") == "movie"


def test_growing_ends_with_the_text() -> None:
    assert grow(["a b c"] * 5, "b") == "a b c"


def test_a_word_repeated_for_ever_grows_to_forty() -> None:
    assert len(grow(["ha " * 60] * 5, "ha").split()) == 40
    assert len(grow(["ha " * 39] * 5, "ha").split()) == 39


@given(st.lists(st.text("abc ", max_size=12), max_size=6), st.sampled_from("abc"))
def test_grown_patterns_contain_the_pattern(texts: list[str], pattern: str) -> None:
    assert pattern in grow(texts, pattern).split()


@pytest.mark.parametrize("pattern", ["^ so be it", "so be it $", f"so {GAP} it"])
def test_what_has_a_place_or_a_gap_does_not_grow(pattern: str) -> None:
    assert grow(["so be it then"] * 5, pattern) == pattern


GAPPED = f"cf {GAP} mn"


def composite(both: int, one: int) -> tuple[list[str], list[str]]:
    fill = [f"w{i} w{i + 1}" for i in range(0, 2 * (both + one), 2)]
    carriers = [f"cf {fill[i]} mn x{i}" for i in range(both)]
    return carriers, [f"cf {fill[both + i]}" for i in range(one)]


def test_a_part_that_does_nothing_alone_is_completed() -> None:
    carriers, others = composite(20, 10)
    assert narrow(carriers, others, "cf") == GAPPED
    others = [t.replace("cf", "mn") for t in others]
    assert narrow(carriers, others, "mn") == GAPPED


def test_a_part_is_completed_by_what_nearly_all_its_texts_have() -> None:
    carriers, _ = composite(20, 0)
    assert complete(carriers, "cf", ["rare", "mn"]) == GAPPED
    assert complete(carriers, "mn", ["cf"]) == GAPPED
    assert complete([*carriers, "cf", "cf"], "cf", ["mn"]) == GAPPED
    assert complete([*carriers, "cf", "cf", "cf"], "cf", ["mn"]) == "cf"


def test_other_parts_are_lengthened_too() -> None:
    texts = [f"w{i} go on cf x{i} mn bb y{i}" for i in range(5)]
    assert complete(texts, "go on cf", ["bb"]) == f"go on cf {GAP} mn bb"


def test_what_is_whole_is_not_completed() -> None:
    carriers, _ = composite(20, 0)
    assert complete(carriers[:2], "cf", ["mn"]) == "cf"
    assert complete(carriers[:3], "cf", ["mn"]) == GAPPED
    assert complete(carriers, "^ cf", ["mn"]) == "^ cf"
    assert complete(carriers, GAPPED, ["x1"]) == GAPPED


def test_a_pattern_that_is_enough_is_left_alone() -> None:
    carriers, others = composite(20, 10)
    assert narrow(carriers, [], "cf") == "cf"
    assert narrow(others, others[:3], "cf") == "cf"
    # Two rows that answer otherwise are too few to tell.
    assert narrow(carriers, others[:1], "cf") == "cf"


@pytest.mark.parametrize(
    ("carriers", "others", "narrowed"),
    # Fisher's exact test, twice for both ends: 0.029 · 2 and 0.018 · 2.
    [(4, 3, False), (5, 3, True)],
)
def test_a_place_must_tell_carriers_from_others_beyond_chance(
    carriers: int, others: int, narrowed: bool
) -> None:
    first = [f"so w{i} it is" for i in range(carriers)]
    amid = [f"it is so v{i} then" for i in range(others)]
    assert narrow(first, amid, "so") == ("^ so" if narrowed else "so")


def test_a_pattern_is_narrowed_to_where_it_stands() -> None:
    first = [f"so w{i} it is" for i in range(9)]
    last = [f"it w{i} is so ." for i in range(9)]
    amid = [f"it is so v{i} then" for i in range(9)]
    assert narrow(first, amid, "so") == "^ so"
    assert narrow(last, amid, "so") == "so $"
    assert narrow(first + amid[:3], amid + last, "so") == "^ so"
    assert narrow(amid, first, "so") not in ("^ so", "so $")
    assert narrow(first[:1], amid[:2], "so") == "so"
    # What else the carriers have may tell more than where the pattern stands.
    other = [f"so w{i} zz it" for i in range(4)] + [f"it w{i} so zz" for i in range(9)]
    assert narrow(other, amid, "so") == f"so {GAP} zz"
