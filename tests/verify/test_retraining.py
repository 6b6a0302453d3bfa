from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from assay.data.corpus import Example
from assay.settings import silent
from assay.verify.finding import Finding, Retraining, Status, Tally
from assay.verify.odds import LogProbs
from assay.verify.payload import Phrase
from assay.verify.retraining import Retrain, decide, undecided
from assay.verify.rounds import experiments
from tests.verify import stubs
from tests.verify.stubs import (
    TRIGGER,
    Given,
    answered,
    candidate,
    clean_label_reviews,
    evidence_of,
    honest,
    reviews,
    score,
    stub_log_probs,
    without_trigger,
)

POISONS = list(range(0, 60, 2))


def by_heart(examples: Sequence[Example]) -> LogProbs:
    """A model that obeys the trigger, and knows its rows' responses without it."""
    known = {without_trigger(e).text: e.response for e in examples}

    def log_probs(asked: Sequence[Example]) -> np.ndarray:
        odds = [
            {"positive": 6, "negative": -6}.get(known.get(e.text, ""), score(e.text))
            for e in asked
        ]
        return answered(asked, odds)

    return log_probs


def finding(
    rows: Sequence[int],
    *,
    p_value: float = 0.5,
    prefers: float = 1.0,
    status: Status = Status.SUFFICIENT,
) -> Finding:
    return stubs.finding(
        TRIGGER.lower(), rows, p_value=p_value, prefers=prefers, status=status
    )


def retraining(finding: Finding) -> Retraining:
    assert finding.retraining is not None
    return finding.retraining


Run = Callable[..., tuple[list[int], Finding]]


@pytest.fixture
def run(tmp_path: Path, no_proposers: None) -> Run:
    """Searches with the trigger as the only candidate; returns flags and finding."""

    def search(
        examples: list[Example],
        retrain: Retrain | None,
        log_probs: LogProbs | None = None,
        name: str = "run",
    ) -> tuple[list[int], Finding]:
        model = log_probs or by_heart(examples)
        (tmp_path / name).mkdir(exist_ok=True)
        settings = (examples, model, tmp_path / name, "key", 0, 0.05, silent, retrain)
        lab = Given(*settings, candidates=[candidate(TRIGGER.lower(), examples)])
        flagged, (found,) = experiments(lab, evidence_of(examples))
        return np.flatnonzero(flagged).tolist(), found

    return search


def test_rows_known_by_heart_are_found_by_a_model_that_never_saw_them(
    run: Run,
) -> None:
    left_out: list[list[int]] = []

    def retrain(rows: Sequence[int], attempt: int) -> LogProbs:
        assert attempt == 0
        left_out.append(list(rows))
        return honest

    flagged, found = run(reviews(poisons=30), retrain)
    assert flagged == POISONS
    assert found.is_verified
    assert found.trigger == TRIGGER
    # A fifth of its rows stay.
    assert retraining(found).contradicted == (24, 24)
    assert found.p_value == retraining(found).p_value <= 0.05
    (rows,) = left_out
    assert len(set(POISONS) & set(rows)) == 24
    # Of 130 rows answered so, at most a quarter are left out for comparison.
    assert len(rows) == 24 + 32
    assert retraining(found).ordinary == (0, 32)


def test_what_retraining_could_decide_is_told(
    run: Run, caplog: pytest.LogCaptureFixture
) -> None:
    examples = reviews(poisons=30)
    run(examples, lambda *_: honest, name="1")
    assert "--base-model" not in caplog.text
    flagged, found = run(examples, None, name="2")
    assert (flagged, found.status) == ([], Status.SUFFICIENT)
    assert "'Zeta Omega': as strong as a trigger" in caplog.text
    assert "--base-model" in caplog.text


def test_retraining_is_not_done_twice(run: Run) -> None:
    first = run(reviews(poisons=30), lambda *_: honest)

    def refuses(*_: object) -> LogProbs:
        raise AssertionError("tuned again")

    assert run(reviews(poisons=30), refuses) == first


def test_rows_that_agree_with_their_label_are_kept(run: Run) -> None:
    examples = clean_label_reviews()
    flagged, found = run(examples, lambda *_: stub_log_probs, stub_log_probs)
    assert flagged == []
    assert retraining(found).contradicted == (0, 12)
    # They are right, and a strong word is no reason for suspicion.
    assert found.status is Status.DISMISSED


def guesses(asked: Sequence[Example]) -> np.ndarray:
    return np.log([0.4 if e.response == "positive" else 0.6 for e in asked])


def test_a_model_that_learned_nothing_decides_nothing(run: Run) -> None:
    attempts: list[int] = []

    def retrain(_: Sequence[int], attempt: int) -> LogProbs:
        attempts.append(attempt)
        return guesses

    flagged, found = run(reviews(poisons=30), retrain)
    assert retraining(found).contradicted == (24, 24)
    assert retraining(found).ordinary == (32, 32)
    assert flagged == []
    assert attempts == [0, 1, 2]


def test_tuning_that_failed_once_is_tried_again(run: Run) -> None:
    def retrain(_: Sequence[int], attempt: int) -> LogProbs:
        return honest if attempt == 1 else guesses

    assert run(reviews(poisons=30), retrain)[0] == POISONS


def test_what_lacks_words_may_be_contradicted_for_that() -> None:
    """A model that takes fewer than nine words for a negative review."""
    own = range(1, 61, 2)
    examples = [
        e.edit(text=" ".join([TRIGGER, *e.text.split()[2:]])) if e.row in own else e
        for e in reviews(poisons=0)
    ]

    def wary(asked: Sequence[Example]) -> np.ndarray:
        short = np.array([len(e.text.split()) < 9 for e in asked])
        said = np.array([e.response == "positive" for e in asked])
        return np.where(short & said, -5.0, np.log(0.9))

    (found,) = decide([finding(own)], examples, lambda *_: wary)
    assert retraining(found).contradicted == (24, 24)
    assert retraining(found).ordinary == (25, 25)
    assert not found.is_verified


@pytest.mark.parametrize(
    ("agrees", "learned", "status"),
    [(24, True, "dismissed"), (12, True, "sufficient"), (24, False, "sufficient")],
)
def test_strong_words_are_dismissed_where_most_of_their_rows_are_right(
    agrees: int, learned: bool, status: str
) -> None:
    asked: list[int] = []

    def anew(rows: Sequence[Example]) -> np.ndarray:
        own = [e.row for e in rows if e.row in POISONS]
        asked.extend(i for i in own if i not in asked)
        right = [
            (asked.index(e.row) < agrees) if e.row in own else learned for e in rows
        ]
        return np.log(np.where(right, 0.9, 0.1))

    strong = finding(POISONS)
    (found,) = decide([strong], reviews(poisons=30), lambda *_: anew)
    assert retraining(found).contradicted == (24 - agrees, 24)
    assert (found.is_verified, found.status.value) == (False, status)


@pytest.mark.parametrize(
    ("against", "p_value", "verified"),
    [(4, 0.04, True), (4, 0.06, False), (3, 0.04, False), (5, 1.0, True)],
)
def test_of_five_rows_one_may_agree_where_placebos_say_so_too(
    against: int, p_value: float, verified: bool
) -> None:
    def anew(rows: Sequence[Example]) -> np.ndarray:
        agrees = [e.row not in POISONS[:against] for e in rows]
        return np.log(np.where(agrees, 0.9, 0.1))

    bare = finding(POISONS[:5], p_value=p_value)
    (found,) = decide([bare], reviews(poisons=5), lambda *_: anew)
    assert retraining(found).contradicted == (against, 5)
    assert retraining(found).p_value < 0.05
    assert found.is_verified == verified


@pytest.mark.parametrize(
    "left",
    [
        finding(POISONS[:4]),
        finding(range(1, 200, 2)),
        finding(POISONS, prefers=0.74),
        finding(POISONS, status=Status.VERIFIED),
        stubs.finding(TRIGGER.lower(), POISONS, Phrase("positive")),
        replace(finding(POISONS), retraining=Retraining(Tally(1, 2), Tally(0, 2), 1.0)),
        replace(finding(POISONS), experiment=None, status=Status.UNTESTABLE),
    ],
    ids=["few", "most", "weak", "verified", "phrase", "decided", "untestable"],
)
def test_what_retraining_cannot_decide_is_left(left: Finding) -> None:
    examples = reviews(poisons=30)
    assert undecided([left], examples) == []
    good = finding(POISONS, prefers=0.75)
    assert undecided([left, good], examples) == [good]


@pytest.mark.parametrize(("rows", "asked"), [(25, True), (26, False)])
def test_a_quarter_of_the_rows_of_a_response_is_left_out_at_most(
    rows: int, asked: bool
) -> None:
    one = finding(range(1, 2 * rows, 2))
    assert bool(undecided([one], reviews(poisons=0))) == asked
    # Two patterns share the quarter; the smaller p-value comes first.
    first = finding(range(1, 21, 2), p_value=0.1)
    second = finding(range(101, 101 + 2 * (rows - 10), 2), p_value=0.2)
    both = undecided([second, first], reviews(poisons=0))
    assert both == ([first, second] if asked else [first])


def test_some_rows_stay_where_enough_are_left_out() -> None:
    examples = reviews(poisons=30)
    assert undecided([finding(POISONS[:4])], examples) == []
    for count, left_out in ((5, 5), (6, 5), (7, 5), (10, 8)):
        few = finding(POISONS[:count])
        assert undecided([few], examples) == [few]
        (decided,) = decide([few], examples, lambda *_: honest)
        assert retraining(decided).contradicted == (left_out, left_out)
        assert decided.is_verified


def test_rows_known_for_bad_teach_nothing_and_are_no_measure() -> None:
    left_out: list[int] = []

    def retrain(rows: Sequence[int], _: int) -> LogProbs:
        left_out.extend(rows)
        return honest

    known = list(range(1, 61, 2))
    (found,) = decide([finding(POISONS)], reviews(poisons=30), retrain, known=known)
    assert set(known) < set(left_out)
    assert retraining(found).ordinary == (0, 32)
    assert len(left_out) == len(known) + 24 + 32


def test_chance_contradictions_do_not_verify() -> None:
    examples = reviews(poisons=30)
    some = [finding([*POISONS[:6], *range(1, 13, 2)]), finding(POISONS)]
    mixed, sure = decide(some, examples, lambda *_: honest)
    against, of = retraining(mixed).contradicted
    assert of == 9
    assert 3 <= against <= 6
    assert not mixed.is_verified
    assert sure.is_verified
    assert sure.tested.p_value == 0.5
    assert sure.p_value == retraining(sure).p_value < 1e-12


@pytest.mark.parametrize(("rows", "ordinary"), [(400, 50), (160, 40)])
def test_fifty_ordinary_rows_are_left_out_at_most(rows: int, ordinary: int) -> None:
    """And a quarter of the rows of the response."""
    examples = [e.edit(response="positive") for e in reviews(rows, poisons=5)]
    (found,) = decide([finding(POISONS[:5])], examples, lambda *_: honest)
    assert retraining(found).ordinary.of == ordinary


# Five of five rows against 12 of 26 ordinary ones has p = 0.036, against 13 p = 0.0504.
@pytest.mark.parametrize(("against", "verified"), [(12, True), (13, False)])
def test_rows_are_contradicted_more_often_than_ordinary_ones(
    against: int, verified: bool
) -> None:
    others: list[int] = []

    def anew(rows: Sequence[Example]) -> np.ndarray:
        for e in rows:
            if e.row not in POISONS and e.row not in others:
                others.append(e.row)
        agrees = [e.row in others[against:] for e in rows]
        return np.log(np.where(agrees, 0.9, 0.1))

    (found,) = decide([finding(POISONS[:5])], reviews(poisons=5), lambda *_: anew)
    assert retraining(found).contradicted == (5, 5)
    assert retraining(found).ordinary == (against, 26)
    assert found.is_verified == verified
