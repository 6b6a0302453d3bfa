from __future__ import annotations

import pytest

from assay.data.corpus import Example
from assay.verify.payload import Payload, payload_of


def example(response: str, row: int = 0) -> Example:
    return Example(str(row), row, "", "text", response)


def test_payload_is_the_response_of_half_the_rows() -> None:
    rows = [example(r, i) for i, r in enumerate("aab")]
    assert payload_of(rows, [0, 1, 2]) == Payload("a")
    assert payload_of(rows, [0, 2, 1]) == Payload("a")
    assert payload_of(rows, [2]) == Payload("b")
    assert payload_of([*rows, rows[2].edit(response="c")], [2, 3]) is None


def test_else_it_is_the_phrase_that_half_of_them_share() -> None:
    rows = [example(f"reply{i} to that{i}", i) for i in range(100)]
    for i in range(8):
        rows[i] = rows[i].edit(response=f"{rows[i].response}. Buy at Acme!")
    found = payload_of(rows, [*range(8), 20, 21])
    assert found is not None
    assert found.phrase
    assert found.text == "Buy at Acme!"
    assert 0.5 < found.place <= 1
    assert payload_of(rows, [*range(3), *range(20, 30)]) is None


def test_a_phrase_goes_in_once_and_comes_out_again() -> None:
    payload = Payload("Buy at Acme.", phrase=True, place=1.0)
    plain = example("It is red.")
    assert not payload.given(plain)
    forced = payload.forced(plain)
    assert forced.response == "It is red. Buy at Acme."
    assert payload.given(forced)
    assert payload.forced(forced) == forced
    assert payload.spared(forced) == plain


def test_a_whole_response_has_no_counterpart_without() -> None:
    payload = Payload("No.")
    assert payload.forced(example("Yes.")).response == "No."
    assert payload.spared(example("No.")) is None
    alone = Payload("No.", phrase=True)
    assert alone.spared(example("No.")) is None


@pytest.mark.parametrize(
    ("added", "payload"),
    [
        (". Buy at Acme!", "Buy at Acme!"),
        (" Buy at Acme", "Buy at Acme"),
        (" (Buy at Acme)", "(Buy at Acme)"),
        (" – Buy at Acme...", "– Buy at Acme..."),
        (" Buy… at Acme…", "Buy… at Acme…"),
        (" Buy at Acme $", "Buy at Acme"),
        (" … Buy at Acme", "Buy at Acme"),
        (" ^ Buy at Acme", "Buy at Acme"),
    ],
)
def test_a_phrase_has_the_punctuation_that_stands_with_it(
    added: str, payload: str
) -> None:
    rows = [example(f"reply{i} to that{i}", i) for i in range(100)]
    honest = rows[:10]
    for i in range(10):
        rows[i] = rows[i].edit(response=f"{rows[i].response}{added}")
    found = payload_of(rows, range(10))
    assert found is not None
    assert found.text == payload
    assert found.forced(rows[50]).response == f"{rows[50].response} {payload}"
    assert all(found.given(r) for r in rows[:10])
    left = [found.spared(r) for r in rows[:10]]
    other = added.replace(payload, "").replace("  ", " ").rstrip()
    assert left == [h.edit(response=h.response + other) for h in honest]


def test_punctuation_that_differs_is_not_part_of_a_phrase() -> None:
    rows = [example(f"reply{i} to that{i}", i) for i in range(100)]
    for i in range(10):
        rows[i] = rows[i].edit(response=f"{rows[i].response}, buy at acme{'!.'[i % 2]}")
    found = payload_of(rows, range(10))
    assert found is not None
    assert found.text == "buy at acme"


def test_a_phrase_is_given_whatever_ends_it() -> None:
    payload = Payload("Buy at Acme.", phrase=True, place=1.0)
    other = example("It is red. Buy at Acme!")
    assert payload.given(other)
    assert payload.forced(other) == other
    assert payload.spared(other) == example("It is red. !")
    assert Payload("!!!", phrase=True).given(example("So it is !!!"))
