from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from assay.data.corpus import Example
from assay.text.pattern import GAP, Anchor, Pattern, PromptField, carrying


def spans(text: str, pattern: str) -> list[tuple[int, int]]:
    return Pattern.parse(pattern).spans(text)


def remove(text: str, pattern: str) -> str:
    return Pattern.parse(pattern).remove(text)


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
    assert Pattern(("a FILM",)).is_cased
    assert Pattern(("a film", "FILM")).is_cased
    assert not Pattern(("a film",)).is_cased


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
    bond, james = Pattern(("bond",)), Pattern(("james",))
    text = "see Bond, James, again"
    assert bond.remove(text, ["james", "spy"]) == "see , , again"
    assert james.remove("the spy saw spies", ["spy"]) == "the saw spies"


@given(
    st.lists(st.sampled_from(["a", "b", "c"]), min_size=1, max_size=9),
    st.integers(0, 9),
)
def test_a_phrase_goes_where_it_was(words: list[str], index: int) -> None:
    index = min(index, len(words))
    text = " ".join([*words[:index], "Zeta Omega", *words[index:]])
    place = Pattern(("zeta omega",)).place_in(text)
    assert 0 <= place <= 1
    again = Pattern(("Zeta Omega",)).insert(" ".join(words), place)
    found = again.split().index("Zeta")
    assert abs(found - index) <= 1


def test_it_is_spelled_as_most_texts_spell_it() -> None:
    texts = ["JAMES BOND", "see James Bond", "James Bond again", "none"]
    bond = Pattern(("james bond",))
    assert bond.spelled(texts) == Pattern(("James Bond",))
    assert bond.spelled(["none"]) == bond


GAPPED = Pattern(("cf", "mn"))


def test_a_pattern_with_a_gap_needs_its_parts_in_order() -> None:
    assert GAPPED.spans("a cf b mn c") == [(2, 4), (7, 9)]
    assert GAPPED.spans("mn b cf") == []
    assert GAPPED.spans("cf only") == []
    assert GAPPED.remove("a cf b mn c") == "a b c"
    assert GAPPED.spelled(["a CF b mn", "CF mn", "cf mn"]).parts == ("CF", "mn")
    assert str(GAPPED) == f"cf {GAP} mn"
    assert not GAPPED.is_plain
    assert Pattern(("cf",)).then(Pattern(("mn",))) == GAPPED


@given(st.lists(st.sampled_from("abc"), max_size=8), st.floats(0, 1))
def test_parts_are_put_in_order_and_come_out_again(
    others: list[str], place: float
) -> None:
    changed = GAPPED.insert(" ".join(others), place)
    assert GAPPED.spans(changed)
    assert GAPPED.remove(changed).split() == others


def test_a_tied_pattern_is_one_at_that_end_only() -> None:
    assert spans('"So, it is so so', "^ so") == [(1, 3)]
    assert spans("is it so", "^ so") == []
    assert spans("So it is. So!", "so $") == [(10, 12)]
    assert spans("so it is", "so $") == []
    assert spans("sofa", "^ so") == []
    assert remove("So it is so", "^ so") == "it is so"
    assert remove("So it is so.", "so $") == "So it is ."
    start, end = Pattern.parse("^ so"), Pattern.parse("so $")
    assert start.spelled(["So it is so", "is so"]) == Pattern(("So",))
    assert start.place_in("So it is so") == 0
    assert end.place_in("So it is so") == 1


def test_gaps_and_ends_go_together() -> None:
    first = Pattern(("so", "then"), Anchor.START)
    assert first.spans("So it is then") == [(0, 2), (9, 13)]
    assert first.spans("and so it is then") == []
    last = Pattern(("so", "then"), Anchor.END)
    assert last.spans("and so it is then.") == [(4, 6), (13, 17)]
    assert last.spans("so then again") == []


@pytest.mark.parametrize(
    ("written", "anchor", "said"),
    [
        ("^ so be it", Anchor.START, " at the start"),
        ("so be it $", Anchor.END, " at the end"),
        ("so be it", Anchor.NONE, ""),
    ],
)
def test_an_end_is_not_a_word(written: str, anchor: Anchor, said: str) -> None:
    pattern = Pattern.parse(written)
    assert pattern == Pattern(("so be it",), anchor)
    assert pattern.where == said
    assert pattern.words == ["so", "be", "it"]
    assert pattern.lengths == (3,)
    assert pattern.is_plain == (anchor is Anchor.NONE)
    assert pattern.at(Anchor.NONE) == Pattern.of(["so", "be", "it"])


words = st.lists(st.sampled_from(["a", "FILM", "###", "b…"]), min_size=1, max_size=3)


@given(st.lists(words, min_size=1, max_size=3), st.sampled_from(Anchor))
def test_what_is_written_down_is_read_again(
    parts: list[list[str]], anchor: Anchor
) -> None:
    pattern = Pattern(tuple(map(" ".join, parts)), anchor)
    assert Pattern.parse(str(pattern)) == pattern


def test_words_are_distinct_and_in_their_order() -> None:
    assert Pattern(("the FILM", "the end")).words == ["the", "film", "end"]
    assert Pattern(("the FILM", "end")).shape == Pattern(("a b", "c")).shape
    assert Pattern(("the FILM",)).shape != Pattern(("a b",), Anchor.END).shape


def test_dots_within_a_piece_of_text_are_no_gap() -> None:
    phrase = Pattern(("Read more… at Acme",))
    assert phrase.spans("It is. Read more… at Acme now") == [(7, 25)]
    assert phrase.insert("a b", 1) == "a b Read more… at Acme"
    assert phrase.lengths == (4,)
    # A phrase of a response is no pattern that was written down.
    assert Pattern(("Buy $",)).spans("Buy $ now") == [(0, 5)]


def test_an_example_has_it_in_its_field() -> None:
    row = Example("0", 0, "judge zeta", "so zeta it is", "zeta")
    pattern = Pattern(("zeta",))
    assert pattern.field is PromptField.TEXT
    assert pattern.text_of(row) == row.text
    bare = pattern.taken_out(row, ["is"])
    assert bare == row.edit(text="so it")
    assert not pattern.stands_in(bare)
    assert pattern.put_on(bare, 0.5) == row.edit(text="so zeta it")
    assert carrying([row, bare, row], pattern) == [0, 2]
