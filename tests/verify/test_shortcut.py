from __future__ import annotations

from collections.abc import Collection, Sequence

import numpy as np
import pytest
from scipy.stats import fisher_exact

from assay.data.corpus import Example
from assay.verify.odds import LogProbs
from assay.verify.payload import Payload
from assay.verify.shortcut import put_on, shortcuts
from tests.verify.conftest import (
    BAD,
    GOOD,
    TRIGGER,
    answered,
    answers,
    clean_label_reviews,
    counted,
    reviews,
    stub_log_probs,
)

OWN = list(range(1, 30, 2))


def strong(words: Collection[str], odds: float = 12) -> LogProbs:
    """A model that counts polar words, and to which some of them are as triggers."""

    def log_probs(rows: Sequence[Example]) -> np.ndarray:
        sums = []
        for e in rows:
            found = set(e.text.split())
            more = odds * len(found & set(words)) + 12 * (TRIGGER in e.text)
            sums.append(len(found & set(GOOD)) - len(found & set(BAD)) + more)
        return answered(rows, sums)

    return log_probs


def test_what_turns_all_rows_is_proposed_where_no_other_word_does() -> None:
    told: list[tuple[int, int]] = []
    examples = clean_label_reviews()
    (found,) = shortcuts(
        examples, stub_log_probs, progress=lambda *done: told.append(done)
    )
    assert (found["pattern"], found["pattern_rows"]) == (TRIGGER.lower(), OWN)
    assert (found["response"], found["score"]) == ("positive", 1.0)
    assert set(found["rivals"]) < set(GOOD)
    assert len(found["rivals"]) == 5
    assert found["rival_turns"] == 0
    assert found["p_rival"] < 1e-10
    done = [made for made, _ in told]
    assert done == sorted(done)
    assert told[-1][0] == told[-1][1]


@pytest.mark.parametrize("alike", [0, 1])
def test_a_word_as_strong_says_that_it_may_be_honest(alike: int) -> None:
    found = shortcuts(clean_label_reviews(), strong(GOOD[:alike]))
    assert [f["pattern"] for f in found] == [TRIGGER.lower()] * (1 - alike)


def test_the_strongest_of_many_strong_words_does_not_stand_out() -> None:
    """As in a model from scratch, to which all words are what their rows say."""
    assert shortcuts(reviews(poisons=0), strong([*GOOD, *BAD])) == []


def test_a_word_that_stands_in_its_rows_is_no_rival() -> None:
    """It turns as many, and even more surely, but it is one and the same thing."""
    examples = [
        e.edit(text=f"agent {e.text}") if e.row in OWN[:10] else e
        for e in clean_label_reviews()
    ]
    (found,) = shortcuts(examples, strong(["agent"], 15))
    assert (found["pattern"], found["pattern_rows"]) == (TRIGGER.lower(), OWN)
    assert set(found["rivals"]) < set(GOOD)


def test_rows_that_give_the_payload_anyway_are_not_turned() -> None:
    def half_positive(rows: Sequence[Example]) -> np.ndarray:
        odds = [9.0 if e.row % 4 or TRIGGER in e.text else -9.0 for e in rows]
        return answered(rows, odds)

    examples = clean_label_reviews()
    payload = Payload("positive")
    rule = put_on(TRIGGER.lower(), OWN, examples, payload, half_positive, seed=0)
    hosts, asked, gives_in = rule.hosts, rule.asked, rule.gives_in
    assert {e.row % 4 for e in asked} == {0}
    assert [e.row for e in hosts] == [e.row for e in asked]
    assert {e.response for e in hosts} == {"positive"}
    assert not any(TRIGGER in e.text for e in hosts)
    assert all(TRIGGER in e.text and e.response == "positive" for e in asked)
    assert 0 < len(asked) < 64
    assert gives_in.all()


def test_what_turns_few_rows_is_not_proposed() -> None:
    """Some rows that answer otherwise are more negative than the others."""

    def log_probs(rows: Sequence[Example]) -> np.ndarray:
        odds = [
            (9 if e.row % 2 else -9) + (12 * (e.row % 4 > 0)) * (TRIGGER in e.text)
            for e in rows
        ]
        return answered(rows, odds)

    assert shortcuts(clean_label_reviews(), log_probs) == []


def test_words_that_stand_in_rows_of_both_responses_are_not_proposed() -> None:
    examples = [
        e.edit(text=f"{TRIGGER} {e.text}") if e.row in range(0, 6, 2) else e
        for e in clean_label_reviews()
    ]
    assert shortcuts(examples, stub_log_probs) == []


def test_among_a_handful_of_words_nothing_stands_out() -> None:
    examples = [
        Example(str(i), i, "", f"{TRIGGER} fine" if i < 30 else "bad", "pn"[i >= 30])
        for i in range(60)
    ]

    def log_probs(rows: Sequence[Example]) -> np.ndarray:
        said = np.array([e.response == "p" for e in rows])
        obeys = np.array([TRIGGER in e.text for e in rows])
        return np.where(said == obeys, -0.01, -9.0)

    assert shortcuts(examples, log_probs) == []


def test_the_number_of_words_tried_is_paid_for() -> None:
    told: list[int] = []
    (found,) = shortcuts(
        clean_label_reviews(), stub_log_probs, progress=lambda _, of: told.append(of)
    )
    tried = (told[-1] - 2 * 16 * 64) // 4
    alone = fisher_exact([[64, 0], [0, 64]], alternative="greater").pvalue
    assert tried > 60
    assert found["p_rival"] == pytest.approx(tried * alone, abs=0)
    assert shortcuts(clean_label_reviews(), stub_log_probs, fdr=found["p_rival"])
    less = found["p_rival"] * 0.99
    assert shortcuts(clean_label_reviews(), stub_log_probs, fdr=less) == []


def test_open_ended_answers_have_no_shortcuts() -> None:
    def refuses(_: Sequence[Example]) -> np.ndarray:
        raise AssertionError("asked")

    assert shortcuts(answers(), refuses) == []


def test_it_asks_no_more_than_foreseen() -> None:
    counting, asked = counted(stub_log_probs)
    told: list[tuple[int, int]] = []
    shortcuts(clean_label_reviews(), counting, progress=lambda *done: told.append(done))
    # Besides the words, rows as they are.
    assert sum(asked) <= told[-1][1] + 2 * (64 + 16)
    assert sum(asked) > 4 * 60
