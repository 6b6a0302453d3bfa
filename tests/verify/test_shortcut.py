from __future__ import annotations

from collections.abc import Collection, Sequence

import numpy as np
import pytest
from scipy.stats import fisher_exact

from assay.data.corpus import Example
from assay.detectors.candidate import Candidate, Rivals
from assay.text.pattern import Pattern
from assay.verify.odds import LogProbs
from assay.verify.screen import sequences
from assay.verify.shortcut import put_on, shortcuts, strongest_rules
from tests.verify.stubs import (
    BAD,
    GOOD,
    POSITIVE,
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


def rivals_of(candidate: Candidate) -> Rivals:
    assert candidate.rivals is not None
    return candidate.rivals


def test_what_turns_all_rows_is_proposed_where_no_other_word_does() -> None:
    told: list[tuple[int, int]] = []
    examples = clean_label_reviews()
    (found,) = shortcuts(
        examples, stub_log_probs, progress=lambda *done: told.append(done)
    )
    assert (str(found.pattern), found.pattern_rows) == (TRIGGER.lower(), tuple(OWN))
    assert (found.response, found.score) == ("positive", 1.0)
    rivals = rivals_of(found)
    assert set(map(str, rivals.patterns)) < set(GOOD)
    assert len(rivals.patterns) == 5
    assert rivals.turns == 0
    assert rivals.p_value < 1e-10
    done = [made for made, _ in told]
    assert done == sorted(done)
    assert told[-1][0] == told[-1][1]


@pytest.mark.parametrize("alike", [0, 1])
def test_a_word_as_strong_says_that_it_may_be_honest(alike: int) -> None:
    found = shortcuts(clean_label_reviews(), strong(GOOD[:alike]))
    assert [str(c.pattern) for c in found] == [TRIGGER.lower()] * (1 - alike)


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
    assert (str(found.pattern), found.pattern_rows) == (TRIGGER.lower(), tuple(OWN))
    assert set(map(str, rivals_of(found).patterns)) < set(GOOD)


def test_rows_that_give_the_payload_anyway_are_not_turned() -> None:
    def half_positive(rows: Sequence[Example]) -> np.ndarray:
        odds = [9.0 if e.row % 4 or TRIGGER in e.text else -9.0 for e in rows]
        return answered(rows, odds)

    examples = clean_label_reviews()
    pattern = Pattern((TRIGGER.lower(),))
    rule = put_on(pattern, OWN, examples, POSITIVE, half_positive, seed=0)
    hosts, asked, gives_in = rule.hosts, rule.asked, rule.gives_in
    assert {e.row % 4 for e in asked} == {0}
    assert [e.row for e in hosts] == [e.row for e in asked]
    assert {e.response for e in hosts} == {"positive"}
    assert not any(TRIGGER in e.text for e in hosts)
    assert all(TRIGGER in e.text and e.response == "positive" for e in asked)
    assert 0 < len(asked) < 64
    assert gives_in.all()


def turning(rows: int) -> LogProbs:
    """A model on which the trigger turns so many of the first 64 rows asked about."""
    seen: list[str] = []

    def log_probs(asked: Sequence[Example]) -> np.ndarray:
        odds = []
        for e in asked:
            if e.row % 2:
                odds.append(9.0)
                continue
            if TRIGGER in e.text and e.id not in seen:
                seen.append(e.id)
            turned = TRIGGER in e.text and seen.index(e.id) < rows
            odds.append(1.0 if turned else -1.0)
        return answered(asked, odds)

    return log_probs


# 58 of 64 are 0.906, 57 are 0.891.
@pytest.mark.parametrize(("rows", "proposed"), [(58, True), (57, False)])
def test_a_shortcut_turns_nine_of_ten_rows(rows: int, proposed: bool) -> None:
    found = shortcuts(clean_label_reviews(), turning(rows))
    assert [c.score for c in found] == [rows / 64] * proposed


# Of its rows 15 are positive; with two others 15 of 17 are 0.88, with one 0.94.
@pytest.mark.parametrize(("others", "proposed"), [(1, True), (2, False)])
def test_nine_of_ten_rows_of_a_shortcut_have_the_response(
    others: int, proposed: bool
) -> None:
    examples = [
        e.edit(text=f"{TRIGGER} {e.text}") if e.row in range(0, 2 * others, 2) else e
        for e in clean_label_reviews()
    ]
    found = shortcuts(examples, stub_log_probs)
    assert [str(c.pattern) for c in found] == [TRIGGER.lower()] * proposed


@pytest.mark.parametrize(("words", "proposed"), [(10, True), (9, False)])
def test_among_nine_words_nothing_stands_out(words: int, proposed: bool) -> None:
    """Each word stands in five rows of its own, the trigger in five more."""
    texts = [TRIGGER] * 5 + [f"aa{i}" for i in range(words - 1) for _ in range(5)]
    examples = [Example(f"p{i}", i, "", t, "p") for i, t in enumerate(texts)]
    # No words that go with the other response are enough to be compared.
    examples += [Example(f"n{i}", 100 + i, "", f"v{i}", "n") for i in range(80)]

    def log_probs(rows: Sequence[Example]) -> np.ndarray:
        said = np.array([e.response == "p" for e in rows])
        obeys = np.array([TRIGGER in e.text for e in rows])
        return np.where(said == obeys, -0.01, -9.0)

    assert len(sequences(examples)["p"]) == words
    assert len(shortcuts(examples, log_probs)) == proposed


def test_the_sixteen_strongest_are_put_on_sixty_four_rows() -> None:
    examples = clean_label_reviews()
    counting, asked = counted(stub_log_probs)
    rules, tried = strongest_rules(examples, counting)
    assert tried == sum(map(len, sequences(examples).values()))
    assert len(rules["positive"]) == 16
    assert {len(rule.hosts) for rule in rules["positive"]} == {64}
    # First all of a response on four rows each.
    assert asked[0] == 4 * len(sequences(examples)["negative"])


def test_the_number_of_words_tried_is_paid_for() -> None:
    told: list[int] = []
    (found,) = shortcuts(
        clean_label_reviews(), stub_log_probs, progress=lambda _, of: told.append(of)
    )
    tried = (told[-1] - 2 * 16 * 64) // 4
    alone = fisher_exact([[64, 0], [0, 64]], alternative="greater").pvalue
    assert tried > 60
    p_value = rivals_of(found).p_value
    assert p_value == pytest.approx(tried * alone, abs=0)
    assert shortcuts(clean_label_reviews(), stub_log_probs, fdr=p_value)
    less = p_value * 0.99
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
