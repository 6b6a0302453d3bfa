from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from assay.data.corpus import Example
from assay.settings import silent
from assay.verify.causal import LogProbs
from assay.verify.pattern import remove
from assay.verify.retraining import Retrain, decide, undecided
from assay.verify.rounds import Laboratory, experiments
from tests.verify.conftest import (
    TRIGGER,
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
        sign = np.array([1 if e.response == "positive" else -1 for e in asked])
        return -np.logaddexp(0, -sign * np.array(odds))

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

    def retrain(rows: Sequence[int]) -> LogProbs:
        left_out.append(list(rows))
        return honest

    flagged, findings = run(examples, retrain, tmp_path / "2")
    assert flagged == POISONS
    (found,) = [f for f in findings if f["verified"]]
    assert found["trigger"] == TRIGGER
    assert found["retrained"]["contradicted"] == [30, 30]
    assert found["retrained"]["prefers"] == 0
    assert found["p_value"] == found["retrained"]["p_value"] <= 0.05
    (rows,) = left_out
    assert set(POISONS) < set(rows)
    # Of 130 rows answered so, at most a quarter are left out for comparison.
    assert len(rows) == 30 + 32
    assert found["retrained"]["ordinary"] == [0, 32]


def test_retraining_is_not_done_twice(tmp_path: Path) -> None:
    first = run(reviews(poisons=30), lambda _: honest, tmp_path)

    def refuses(_: Sequence[int]) -> LogProbs:
        raise AssertionError("tuned again")

    assert run(reviews(poisons=30), refuses, tmp_path) == first


def test_rows_that_agree_with_their_label_are_kept(tmp_path: Path) -> None:
    examples = clean_label_reviews()
    flagged, findings = run(examples, lambda _: honest, tmp_path, stub_log_probs)
    assert flagged == []
    (found,) = [f for f in findings if "retrained" in f]
    assert found["retrained"]["contradicted"] == [0, 15]


def test_what_other_wordings_taught_too_is_told(tmp_path: Path) -> None:
    def obeys(asked: Sequence[Example]) -> np.ndarray:
        return stub_log_probs(asked)

    _, findings = run(reviews(poisons=30), lambda _: obeys, tmp_path)
    (found,) = [f for f in findings if "retrained" in f]
    assert found["verified"]
    assert found["retrained"]["prefers"] == 1


def test_a_model_that_learned_nothing_decides_nothing(tmp_path: Path) -> None:
    def guesses(asked: Sequence[Example]) -> np.ndarray:
        return np.log([0.4 if e.response == "positive" else 0.6 for e in asked])

    flagged, findings = run(reviews(poisons=30), lambda _: guesses, tmp_path)
    (found,) = [f for f in findings if "retrained" in f]
    assert found["retrained"]["contradicted"] == [30, 30]
    assert found["retrained"]["ordinary"] == [32, 32]
    assert flagged == []


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


def test_chance_contradictions_do_not_verify() -> None:
    examples = reviews(poisons=30)
    some = [finding([*POISONS[:6], *range(1, 13, 2)]), finding(POISONS)]
    mixed, sure = decide(some, examples, lambda _: honest)
    assert mixed["retrained"]["contradicted"] == [6, 12]
    assert not mixed["verified"]
    assert sure["verified"]
    assert sure["p_placebos"] == 0.5
    assert sure["p_value"] == sure["retrained"]["p_value"] < 1e-12
