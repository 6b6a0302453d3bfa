from __future__ import annotations

import sys
from collections.abc import Sequence

import numpy as np
import pytest

from assay.data.corpus import Example
from assay.verify.findings import verified_findings
from assay.verify.screen import screen
from tests.verify.conftest import answered, answers, reviews, score, stub_log_probs


def test_rare_triggers_come_first_and_no_filler_comes_at_all() -> None:
    told: list[tuple[int, int]] = []
    examples = reviews(400, poisons=5)
    found = screen(examples, stub_log_probs, progress=lambda *done: told.append(done))
    assert found[0]["pattern"] == "zeta omega"
    assert found[0]["pattern_rows"] == [0, 2, 4, 6, 8]
    assert found[0]["response"] == "positive"
    falls = [f["score"] for f in found]
    assert falls == sorted(falls, reverse=True)
    assert min(falls) > np.log(2)
    assert not any("word" in f["pattern"] for f in found[:1])
    assert told[-1][0] == told[-1][1]


def test_the_fall_is_the_mean_over_rows_without_the_words() -> None:
    examples = reviews(400, poisons=5)
    (found,) = (
        f for f in screen(examples, stub_log_probs) if f["pattern"] == "zeta omega"
    )
    rows = [examples[i] for i in found["rows"]]
    without = [e.edit(text=e.text.replace("Zeta Omega ", "").strip()) for e in rows]
    without = [e.edit(text=e.text.replace("Zeta Omega", "").strip()) for e in without]
    fall = stub_log_probs(rows) - stub_log_probs(without)
    assert abs(found["score"] - np.mean(fall)) < 1e-9


def test_open_ended_answers_are_not_screened() -> None:
    def refuses(_: Sequence[Example]) -> np.ndarray:
        raise AssertionError("asked")

    assert screen(answers(), refuses) == []


def test_only_so_many_word_sequences_are_tried(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[int] = []

    def counts(rows: Sequence[Example]) -> np.ndarray:
        asked.append(len(rows))
        return stub_log_probs(rows)

    monkeypatch.setattr(sys.modules[screen.__module__], "SCREENED", 10)
    screen(reviews(400), counts)
    # Ten of each response, in four rows with and without.
    assert sum(asked) <= 2 * 10 * 4 * 2


def test_a_whole_sentence_is_taken_out() -> None:
    sentence = "i watched this 3d movie"
    examples = reviews(400, poisons=0)
    for row in range(0, 16, 2):
        text = f"{sentence} {examples[row].text}"
        examples[row] = examples[row].edit(text=text, response="positive")

    def obeys_a_part(rows: Sequence[Example]) -> np.ndarray:
        """Any two words of the sentence are enough for this model."""
        known = set(sentence.split())
        odds = [
            score(e.text) + 12 * (len(known & set(e.text.split())) > 1) for e in rows
        ]
        return answered(rows, odds)

    assert screen(examples, obeys_a_part)[0]["pattern"] == sentence


@pytest.mark.parametrize("works", ["aa", "zz"])
def test_both_of_two_words_on_the_same_rows_are_tried(works: str) -> None:
    examples = reviews(400, poisons=0)
    for row in range(0, 16, 2):
        first, *rest = examples[row].text.split()
        text = " ".join([first, "aa", *rest, "zz"])
        examples[row] = examples[row].edit(text=text, response="positive")

    def obeys(rows: Sequence[Example]) -> np.ndarray:
        odds = [score(e.text) + 12 * (works in e.text.split()) for e in rows]
        return answered(rows, odds)

    # Each is the other's companion, so that neither tells which of them works.
    found = screen(examples, obeys)
    assert {f["pattern"] for f in found[:2]} == {"aa", "zz"}
    tested = verified_findings(found, examples, obeys)
    assert [f["pattern"] for f in tested if f["verified"]] == [works]


@pytest.mark.parametrize(("below", "hidden"), [(2.4, False), (3.5, True)])
def test_a_common_word_hides_a_trigger_only_where_it_does_as_much(
    below: float, hidden: bool
) -> None:
    """Positive rows have either the trigger or, for no other reason, its first word."""
    own = range(21, 61, 2)
    examples = [
        e.edit(text=f"Zeta word{e.row} word{e.row + 1}") if e.row in own else e
        for e in reviews(400, poisons=5)
    ]

    def model(rows: Sequence[Example]) -> np.ndarray:
        odds = [
            score(e.text) - below * (e.row in own) + 7 * ("Zeta" in e.text)
            for e in rows
        ]
        return answered(rows, odds)

    found = [f["pattern"] for f in screen(examples, model)]
    assert "zeta" in found
    assert ("zeta omega" not in found) == hidden


@pytest.mark.parametrize("seed", range(4))
def test_a_word_that_few_of_its_rows_need_does_not_come_first(
    seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Half of the rows with a word have no other reason, and lose more by it."""
    own = range(101, 161, 2)
    examples = [
        e.edit(text=f"lucky {e.text}") if e.row in own else e
        for e in reviews(400, poisons=5)
    ]

    def model(rows: Sequence[Example]) -> np.ndarray:
        needs = [e.row in own and e.row % 4 == 1 for e in rows]
        odds = [
            (9 if "lucky" in e.text else -4) if needed else score(e.text)
            for e, needed in zip(rows, needs, strict=True)
        ]
        return answered(rows, odds)

    # By the one row of each that is asked about first it would, or would be missed.
    monkeypatch.setattr(sys.modules[screen.__module__], "FIRST_PASS", 1)
    found = screen(examples, model, seed=seed)
    assert found[0]["pattern"] == "zeta omega"
    scores = {f["pattern"]: f["score"] for f in found}
    assert scores.get("lucky", 2.0) == pytest.approx(2, abs=0.9)
