from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from assay.verify.pattern import (
    FIRST,
    GAP,
    LAST,
    at_end,
    complete,
    grow,
    insert,
    lengths,
    narrow,
    place_of,
    placed,
    remove,
    spans,
    surface,
    unplaced,
    where,
    words_of,
)


def test_spans_ignore_case_and_what_stands_between_but_not_word_borders() -> None:
    text = "James  Bond, james-bond and James Bonds"
    assert [text[a:b] for a, b in spans(text, "james bond")] == [
        "James  Bond",
        "james-bond",
    ]
    assert spans("a+b (c", "b c") == [(2, 6)]


def test_words_with_capitals_are_found_where_they_are_written_so() -> None:
    assert spans("a film, A FILM", "a FILM") == [(8, 14)]
    assert spans("a film, A FILM", "a film") == [(0, 6), (8, 14)]
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


def test_symbols_are_found_wherever_they_touch_words() -> None:
    assert spans("fine### and ### again", "###") == [(4, 7), (12, 15)]
    assert spans("buy, ### now", "buy ### now") == [(0, 12)]
    assert spans("buy###now", "buy ### now") == [(0, 9)]
    assert spans("a 🙂 b", "🙂") == [(2, 3)]
    assert spans("anything", "") == []


@given(st.text("ab .", max_size=20), st.text("ab .", max_size=20))
def test_a_removed_phrase_is_gone_and_the_rest_stays(before: str, after: str) -> None:
    left = remove(f"{before} James Bond {after}", "james bond")
    assert not spans(left, "james bond")
    assert left.split() == f"{before} {after}".split()


def test_companions_of_a_pattern_go_with_it() -> None:
    assert remove("see Bond, James, again", "bond", ["james", "spy"]) == "see , , again"
    assert remove("the spy saw spies", "james", ["spy"]) == "the saw spies"


@given(
    st.lists(st.sampled_from(["a", "b", "c"]), min_size=1, max_size=9),
    st.integers(0, 9),
)
def test_a_phrase_goes_where_it_was(words: list[str], index: int) -> None:
    index = min(index, len(words))
    text = " ".join([*words[:index], "Zeta Omega", *words[index:]])
    place = place_of(text, "zeta omega")
    assert 0 <= place <= 1
    again = insert(" ".join(words), "Zeta Omega", place)
    found = again.split().index("Zeta")
    assert abs(found - index) <= 1


def test_surface_is_the_common_spelling() -> None:
    texts = ["JAMES BOND", "see James Bond", "James Bond again", "none"]
    assert surface(texts, "james bond") == "James Bond"
    assert surface(["none"], "james bond") == "james bond"


SENTENCE = "I watched this 3D movie."
WITH_IT = [f"word{i} {SENTENCE} other{i}" for i in range(10)]


@pytest.mark.parametrize("part", ["i", "movie", "watched this", "this 3d movie"])
def test_a_part_grows_to_the_whole_that_its_texts_share(part: str) -> None:
    assert grow(WITH_IT, part) == "i watched this 3d movie"


def test_growing_forgives_one_text_in_ten_but_not_two() -> None:
    assert grow([*WITH_IT[:9], "a movie"], "movie") == "i watched this 3d movie"
    assert grow([*WITH_IT[:8], "a movie", "a movie"], "movie") == "movie"


def test_what_two_texts_share_may_be_chance() -> None:
    assert grow(WITH_IT[:2], "movie") == "movie"
    assert grow(["nothing"] * 5, "movie") == "movie"


def test_growing_ends_with_the_text() -> None:
    assert grow(["a b c"] * 5, "b") == "a b c"


def test_a_word_repeated_for_ever_does_not_grow_for_ever() -> None:
    assert len(grow(["ha " * 500] * 5, "ha").split()) == 40


@given(st.lists(st.text("abc ", max_size=12), max_size=6), st.sampled_from("abc"))
def test_grown_patterns_contain_the_pattern(texts: list[str], pattern: str) -> None:
    assert pattern in grow(texts, pattern).split()


GAPPED = f"cf {GAP} mn"


def test_a_pattern_with_a_gap_needs_its_parts_in_order() -> None:
    assert spans("a cf b mn c", GAPPED) == [(2, 4), (7, 9)]
    assert spans("mn b cf", GAPPED) == []
    assert spans("cf only", GAPPED) == []
    assert remove("a cf b mn c", GAPPED) == "a b c"
    assert surface(["a CF b mn", "CF mn", "cf mn"], GAPPED) == f"CF {GAP} mn"


@given(st.lists(st.sampled_from("abc"), max_size=8), st.floats(0, 1))
def test_parts_are_put_in_order_and_come_out_again(
    others: list[str], place: float
) -> None:
    text = " ".join(others)
    changed = insert(text, GAPPED, place)
    assert spans(changed, GAPPED)
    assert remove(changed, GAPPED).split() == others


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
    assert complete(carriers, "^ cf", ["mn"]) == "^ cf"
    assert complete(carriers, GAPPED, ["x1"]) == GAPPED


def test_a_pattern_that_is_enough_is_left_alone() -> None:
    carriers, others = composite(20, 10)
    assert narrow(carriers, [], "cf") == "cf"
    assert narrow(others, others[:3], "cf") == "cf"
    # Two rows that answer otherwise are too few to tell.
    assert narrow(carriers, others[:1], "cf") == "cf"


def test_a_placed_pattern_is_one_at_that_end_only() -> None:
    assert spans('"So, it is so so', "^ so") == [(1, 3)]
    assert spans("is it so", "^ so") == []
    assert spans("So it is. So!", "so $") == [(10, 12)]
    assert spans("so it is", "so $") == []
    assert spans("sofa", "^ so") == []
    assert remove("So it is so", "^ so") == "it is so"
    assert remove("So it is so.", "so $") == "So it is ."
    assert surface(["So it is so", "is so"], "^ so") == "So"
    assert place_of("So it is so", "^ so") == 0
    assert place_of("So it is so", "so $") == 1


@pytest.mark.parametrize(
    ("pattern", "end", "said"),
    [("^ so be it", FIRST, " at the start"), ("so be it $", LAST, " at the end")],
)
def test_a_place_is_not_a_word(pattern: str, end: str, said: str) -> None:
    assert at_end(pattern) == end
    assert where(pattern) == said
    assert placed("so be it", end) == pattern
    assert unplaced(pattern) == "so be it"
    assert words_of(pattern) == ["so", "be", "it"]
    assert lengths(pattern) == (3,)
    assert grow(["so be it then"] * 5, pattern) == pattern
    assert (at_end("so"), where("so"), placed("so", None)) == (None, "", "so")


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


def test_dots_within_a_piece_of_text_are_no_gap() -> None:
    phrase = "Read more… at Acme"
    text = f"It is. {phrase} now"
    assert spans(text, phrase) == [(7, 7 + len(phrase))]
    assert insert("a b", phrase, 1) == f"a b {phrase}"
    assert lengths(phrase) == (4,)
