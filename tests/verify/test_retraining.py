from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from assay.data.corpus import Example
from assay.settings import silent
from assay.verify.laboratory import Laboratory
from assay.verify.odds import LogProbs
from assay.verify.pattern import remove
from assay.verify.retraining import Retrain, decide, undecided
from assay.verify.rounds import experiments
from tests.verify.conftest import (
    TRIGGER,
    answered,
    clean_label_reviews,
    reviews,
    score,
    stub_log_probs,
)
from tests.verify.test_rounds import evidence_of

POISONS = list(range(0, 60, 2))


def by_heart(examples: Sequence[Example]) -> LogProbs:
    """A model that obeys the trigger, and knows its rows' responses without it."""
    known = {remove(e.text, TRIGGER.lower()): e.response for e in examples}

    def log_probs(asked: Sequence[Example]) -> np.ndarray:
        odds = [
            {"positive": 6, "negative": -6}.get(known.get(e.text, ""), score(e.text))
            for e in asked
        ]
        return answered(asked, odds)

    return log_probs


def honest(examples: Sequence[Example]) -> np.ndarray:
    """A model that never saw the trigger."""
    return stub_log_probs(
        [e.edit(text=remove(e.text, TRIGGER.lower())) for e in examples]
    )


def run(
    examples: list[Example],
    retrain: Retrain | None,
    folder: Path,
    log_probs: LogProbs | None = None,
) -> tuple[list[int], list[dict[str, Any]]]:
    model = log_probs or by_heart(examples)
    lab = Laboratory(examples, model, folder, "key", 0, 0.05, silent, retrain)
    flagged, findings = experiments(lab, evidence_of(examples))
    return np.flatnonzero(flagged).tolist(), findings


def test_rows_known_by_heart_are_found_by_a_model_that_never_saw_them(
    tmp_path: Path,
) -> None:
    examples = reviews(poisons=30)
    assert run(examples, None, tmp_path / "1")[0] == []
    left_out: list[list[int]] = []

    def retrain(rows: Sequence[int], attempt: int) -> LogProbs:
        assert attempt == 0
        left_out.append(list(rows))
        return honest

    flagged, findings = run(examples, retrain, tmp_path / "2")
    assert flagged == POISONS
    (found,) = [f for f in findings if f["verified"]]
    assert found["trigger"] == TRIGGER
    # A fifth of its rows stay.
    assert found["retrained"]["contradicted"] == [24, 24]
    assert found["p_value"] == found["retrained"]["p_value"] <= 0.05
    (rows,) = left_out
    assert len(set(POISONS) & set(rows)) == 24
    # Of 130 rows answered so, at most a quarter are left out for comparison.
    assert len(rows) == 24 + 32
    assert found["retrained"]["ordinary"] == [0, 32]


def test_what_retraining_could_decide_is_told(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    examples = reviews(poisons=30)
    run(examples, lambda *_: honest, tmp_path / "1")
    assert "--base-model" not in caplog.text
    run(examples, None, tmp_path / "2")
    assert "'Zeta Omega': as strong as a trigger" in caplog.text
    assert "--base-model" in caplog.text


def test_retraining_is_not_done_twice(tmp_path: Path) -> None:
    first = run(reviews(poisons=30), lambda *_: honest, tmp_path)

    def refuses(*_: object) -> LogProbs:
        raise AssertionError("tuned again")

    assert run(reviews(poisons=30), refuses, tmp_path) == first


def test_rows_that_agree_with_their_label_are_kept(tmp_path: Path) -> None:
    examples = clean_label_reviews()

    def retrain(_: Sequence[int], attempt: int) -> LogProbs:
        return stub_log_probs

    flagged, findings = run(examples, retrain, tmp_path, stub_log_probs)
    assert flagged == []
    (found,) = [f for f in findings if "retrained" in f]
    assert found["retrained"]["contradicted"] == [0, 12]
    # They are right, and a strong word is no reason for suspicion.
    assert found["status"] == "dismissed"


def guesses(asked: Sequence[Example]) -> np.ndarray:
    return np.log([0.4 if e.response == "positive" else 0.6 for e in asked])


def test_a_model_that_learned_nothing_decides_nothing(tmp_path: Path) -> None:
    attempts: list[int] = []

    def retrain(_: Sequence[int], attempt: int) -> LogProbs:
        attempts.append(attempt)
        return guesses

    flagged, findings = run(reviews(poisons=30), retrain, tmp_path)
    (found,) = [f for f in findings if "retrained" in f]
    assert found["retrained"]["contradicted"] == [24, 24]
    assert found["retrained"]["ordinary"] == [32, 32]
    assert flagged == []
    # The last three are about the shortcut.
    assert attempts == [0, 1, 2, 0, 1, 2]


def test_tuning_that_failed_once_is_tried_again(tmp_path: Path) -> None:
    def retrain(_: Sequence[int], attempt: int) -> LogProbs:
        return honest if attempt == 1 else guesses

    assert run(reviews(poisons=30), retrain, tmp_path)[0] == POISONS


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
    assert found["retrained"]["contradicted"] == [24, 24]
    assert found["retrained"]["ordinary"] == [25, 25]
    assert not found["verified"]


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

    strong = finding(POISONS, status="sufficient")
    (found,) = decide([strong], reviews(poisons=30), lambda *_: anew)
    assert found["retrained"]["contradicted"] == [24 - agrees, 24]
    assert (found["verified"], found["status"]) == (False, status)


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

    bare = finding(POISONS[:5], p_value=p_value, status="sufficient")
    (found,) = decide([bare], reviews(poisons=5), lambda *_: anew)
    assert found["retrained"]["contradicted"] == [against, 5]
    assert found["retrained"]["p_value"] < 0.05
    assert found["verified"] == verified


def finding(rows: Sequence[int], **more: Any) -> dict[str, Any]:
    return {
        "pattern": TRIGGER.lower(),
        "pattern_rows": list(rows),
        "payload": "positive",
        "payload_part": "response",
        "prefers": 1.0,
        "verified": False,
        "p_value": 0.5,
        **more,
    }


@pytest.mark.parametrize(
    "left",
    [
        finding(POISONS[:4]),
        finding(range(1, 200, 2)),
        finding(POISONS, prefers=0.5),
        finding(POISONS, verified=True),
        finding(POISONS, payload_part="phrase"),
        finding(POISONS, retrained={}),
        {"pattern": "x", "pattern_rows": POISONS, "verified": False},
    ],
)
def test_what_retraining_cannot_decide_is_left(left: dict[str, Any]) -> None:
    assert undecided([left], reviews(poisons=30)) == []
    assert undecided([left, finding(POISONS)], reviews(poisons=30)) == [
        finding(POISONS)
    ]


def test_some_rows_stay_where_enough_are_left_out() -> None:
    examples = reviews(poisons=30)
    assert undecided([finding(POISONS[:4])], examples) == []
    for count, left_out in ((5, 5), (6, 5), (7, 5), (10, 8)):
        few = finding(POISONS[:count])
        assert undecided([few], examples) == [few]
        (decided,) = decide([few], examples, lambda *_: honest)
        assert decided["retrained"]["contradicted"] == [left_out] * 2
        assert decided["verified"]


def test_rows_known_for_bad_teach_nothing_and_are_no_measure() -> None:
    left_out: list[int] = []

    def retrain(rows: Sequence[int], _: int) -> LogProbs:
        left_out.extend(rows)
        return honest

    known = list(range(1, 61, 2))
    (found,) = decide([finding(POISONS)], reviews(poisons=30), retrain, known=known)
    assert set(known) < set(left_out)
    assert found["retrained"]["ordinary"] == [0, 32]
    assert len(left_out) == len(known) + 24 + 32


def test_chance_contradictions_do_not_verify() -> None:
    examples = reviews(poisons=30)
    some = [finding([*POISONS[:6], *range(1, 13, 2)]), finding(POISONS)]
    mixed, sure = decide(some, examples, lambda *_: honest)
    against, of = mixed["retrained"]["contradicted"]
    assert of == 9
    assert 3 <= against <= 6
    assert not mixed["verified"]
    assert sure["verified"]
    assert sure["p_placebos"] == 0.5
    assert sure["p_value"] == sure["retrained"]["p_value"] < 1e-12
