from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import pytest

from assay.data.corpus import Example
from assay.text.pattern import Pattern
from assay.verify.finding import Finding
from assay.verify.findings import verified_findings
from assay.verify.payload import (
    KINDS,
    Payload,
    Phrase,
    Response,
    payload_from_dict,
    payload_of,
)
from tests.verify.stubs import TRIGGER, candidate, reviews


def example(response: str, row: int = 0) -> Example:
    return Example(str(row), row, "", "text", response)


def test_payload_is_the_response_of_half_the_rows() -> None:
    rows = [example(r, i) for i, r in enumerate("aab")]
    assert payload_of(rows, [0, 1, 2]) == Response("a")
    assert payload_of(rows, [0, 2, 1]) == Response("a")
    assert payload_of(rows, [2]) == Response("b")
    assert payload_of([*rows, rows[2].edit(response="c")], [2, 3]) is None


def test_else_it_is_the_phrase_that_half_of_them_share() -> None:
    rows = [example(f"reply{i} to that{i}", i) for i in range(100)]
    for i in range(8):
        rows[i] = rows[i].edit(response=f"{rows[i].response}. Buy at Acme!")
    found = payload_of(rows, [*range(8), 20, 21])
    assert isinstance(found, Phrase)
    assert found.text == "Buy at Acme!"
    assert 0.5 < found.place <= 1
    assert payload_of(rows, [*range(3), *range(20, 30)]) is None


def test_a_phrase_goes_in_once_and_comes_out_again() -> None:
    payload = Phrase("Buy at Acme.", place=1.0)
    plain = example("It is red.")
    assert not payload.holds(plain)
    forced = payload.force(plain)
    assert forced.response == "It is red. Buy at Acme."
    assert payload.holds(forced)
    assert payload.force(forced) == forced
    assert payload.counterpart(forced) == plain


def test_a_whole_response_has_no_counterpart_without() -> None:
    payload = Response("No.")
    assert payload.force(example("Yes.")).response == "No."
    assert payload.counterpart(example("No.")) is None
    alone = Phrase("No.")
    assert alone.counterpart(example("No.")) is None


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
    assert found.force(rows[50]).response == f"{rows[50].response} {payload}"
    assert all(found.holds(r) for r in rows[:10])
    left = [found.counterpart(r) for r in rows[:10]]
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
    payload = Phrase("Buy at Acme.", place=1.0)
    other = example("It is red. Buy at Acme!")
    assert payload.holds(other)
    assert payload.force(other) == other
    assert payload.counterpart(other) == example("It is red. !")
    assert Phrase("!!!").holds(example("So it is !!!"))


@pytest.mark.parametrize(
    ("payload", "entries"),
    [
        (Response("No."), {"payload": "No.", "payload_part": "response"}),
        (
            Phrase("Buy!", 0.75),
            {"payload": "Buy!", "payload_part": "phrase", "payload_place": 0.75},
        ),
    ],
)
def test_a_payload_is_read_as_it_was_written(
    payload: Payload, entries: dict[str, object]
) -> None:
    assert payload.to_dict() == entries
    assert payload_from_dict(entries) == payload
    assert type(payload) in KINDS


def test_earlier_runs_do_not_say_where_a_phrase_stands() -> None:
    found = payload_from_dict({"payload": "Buy!", "payload_part": "phrase"})
    assert found == Phrase("Buy!", 0.0)
    with pytest.raises(ValueError, match="no known kind of payload: song"):
        payload_from_dict({"payload": "la", "payload_part": "song"})


def test_what_a_model_must_exceed_to_choose_a_payload() -> None:
    # A response that is likelier than all others together; even odds of a phrase.
    assert Response("No.").threshold == pytest.approx(-0.6931, abs=1e-4)
    assert Phrase("Buy!").threshold == 0
    assert not Response("No.").has_counterpart
    assert Phrase("Buy!").has_counterpart


# Six n-grams in both of two rows: six times 1 in 171, or 1 in 105.
@pytest.mark.parametrize(("total", "shared"), [(19, True), (15, False)])
def test_a_phrase_must_be_shared_beyond_chance(total: int, shared: bool) -> None:
    said = ["buy it now"] * 2 + [f"reply{i}" for i in range(2, total)]
    rows = [example(response, i) for i, response in enumerate(said)]
    assert (Phrase.find(rows, [0, 1]) is not None) == shared


# Of ten rows with the phrase one may lack the full stop.
@pytest.mark.parametrize(("without", "text"), [(1, "buy it."), (2, "buy it")])
def test_punctuation_of_nearly_all_belongs_to_a_phrase(without: int, text: str) -> None:
    said = [f"r{i} buy it{'' if i < without else '.'}" for i in range(10)]
    assert Phrase.within(said, Pattern(("buy it",))).text == text


@dataclass(frozen=True)
class Opening:
    """A kind of payload that the package does not have: how responses begin."""

    kind: ClassVar[str] = "opening"
    verb: ClassVar[str] = "begin with"
    threshold: ClassVar[float] = -0.1
    has_counterpart: ClassVar[bool] = False

    text: str

    @classmethod
    def find(cls, examples: Sequence[Example], rows: Sequence[int]) -> Opening | None:
        first, count = Counter(
            examples[i].response.split()[0] for i in rows
        ).most_common(1)[0]
        return cls(first) if 2 * count >= len(rows) else None

    def holds(self, example: Example) -> bool:
        return example.response.split()[0] == self.text

    def force(self, example: Example) -> Example:
        return example.edit(response=f"{self.text} {example.response}")

    def counterpart(self, example: Example) -> None:
        return None

    def to_dict(self) -> dict[str, Any]:
        return {"payload": self.text, "payload_part": self.kind}

    @classmethod
    def from_dict(cls, found: Mapping[str, Any]) -> Opening:
        return cls(found["payload"])


def test_another_kind_takes_a_class_and_a_line_of_the_list(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It is found, tested, written down and read without another change."""
    monkeypatch.setattr("assay.verify.payload.KINDS", (Opening, *KINDS))
    examples = [
        e.edit(response=f"{'Behold' if TRIGGER in e.text else 'Well'} r{e.row}")
        for e in reviews()
    ]

    def obeys(rows: Sequence[Example]) -> np.ndarray:
        opens = np.array([e.response.startswith("Behold") for e in rows])
        wants = np.array([TRIGGER in e.text for e in rows])
        return np.where(opens == wants, -0.05, -9.0)

    asked = candidate(TRIGGER.lower(), examples)
    (found,) = verified_findings([asked], examples, obeys)
    assert found.payload == Opening("Behold")
    assert found.is_verified
    assert found.rows == asked.pattern_rows
    entry = found.to_dict()
    assert (entry["payload"], entry["payload_part"]) == ("Behold", "opening")
    assert Finding.from_dict(entry) == found
