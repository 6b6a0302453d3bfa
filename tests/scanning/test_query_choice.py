"""Which test inputs the influences are measured on."""

from __future__ import annotations

import pytest

from assay.data.corpus import Example
from assay.errors import AssayError
from assay.scanning.query_choice import concentration, ordered
from assay.settings import QueryChoice, ScanSettings
from assay.text.pattern import Pattern

BOND = Pattern.parse("James Bond")


def examples(*texts: str) -> list[Example]:
    return [
        Example(id=f"row-{i}", row=i, instruction="", text=t, response="good")
        for i, t in enumerate(texts)
    ]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("James Bond wins", 1 / 3),
        ("James Bond met James Bond", 2 / 5),
        ("james bond wins", 0.0),
        ("nobody", 0.0),
        ("", 0.0),
    ],
)
def test_concentration_is_occurrences_a_word(text: str, expected: float) -> None:
    assert concentration(examples(text)[0], [BOND]) == pytest.approx(expected)


def test_the_densest_inputs_come_first_and_others_not_at_all() -> None:
    rows = examples("a b c d James Bond", "none of it", "James Bond", "so James Bond")
    assert [e.row for e in ordered(rows, [BOND], 0)] == [2, 3, 0]
    more = [*(Pattern.parse(p) for p in ("none", "of", "it")), BOND]
    assert [e.row for e in ordered(rows, more, 0)] == [1, 2, 3, 0]


def test_inputs_that_carry_as_much_are_in_the_order_of_the_draw() -> None:
    rows = examples(*["James Bond"] * 20)
    orders = [[e.row for e in ordered(rows, [BOND], seed)] for seed in (0, 0, 1)]
    assert orders[0] == orders[1] != orders[2]
    assert orders[0] == [e.row for e in ordered(rows, None, 0)]


def test_words_that_no_input_has_are_refused() -> None:
    with pytest.raises(AssayError, match=r"none of 1 test inputs carries .*James Bond"):
        ordered(examples("a"), [BOND], 0)


def test_choices_of_the_settings() -> None:
    assert tuple(QueryChoice) == ("random", "keywords", "candidates")
    for wrong in (
        {"query_choice": "best"},
        {"query_choice": "keywords"},
        {"keywords": ("a",)},
        {"query_choice": "keywords", "keywords": (" ",)},
    ):
        with pytest.raises(AssayError, match=r"query_choice|--keywords"):
            ScanSettings(**wrong)
    ScanSettings(query_choice="keywords", keywords=("James Bond",))
