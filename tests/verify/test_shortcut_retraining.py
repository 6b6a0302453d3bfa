from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from assay.data.corpus import Example
from assay.settings import silent
from assay.verify.laboratory import Laboratory
from assay.verify.odds import LogProbs
from assay.verify.rounds import experiments
from assay.verify.shortcut_retraining import only_by_its_rows, undecided_shortcuts
from tests.verify.conftest import (
    GOOD,
    TRIGGER,
    answered,
    clean_label_reviews,
    score,
    stub_log_probs,
)
from tests.verify.test_rounds import evidence_of

OWN = list(range(1, 30, 2))


def finding(**more: object) -> dict[str, Any]:
    return {
        "pattern": TRIGGER.lower(),
        "trigger": TRIGGER,
        "pattern_rows": OWN,
        "rows": OWN,
        "response": "positive",
        "payload": "positive",
        "payload_part": "response",
        "p_value": 1.0,
        "verified": False,
        "status": "sufficient",
        "rivals": ["good1", "good2"],
        "rival_turns": 0.2,
        "p_rival": 0.001,
        **more,
    }


def retrained(log_probs: LogProbs) -> Any:
    """Tuning that yields this model, and what was left out."""
    left_out: list[list[int]] = []

    def retrain(rows: Sequence[int], attempt: int) -> LogProbs:
        assert attempt < 3
        left_out.append(list(rows))
        return log_probs

    return retrain, left_out


def forgets(rows: Sequence[Example]) -> np.ndarray:
    """A model that has never seen the trigger."""
    return stub_log_probs([e.edit(text=e.text.replace(TRIGGER, "")) for e in rows])


def opposes(rows: Sequence[Example]) -> np.ndarray:
    """A model that never says "positive"."""
    odds = [-3.0 for _ in rows]
    return answered(rows, odds)


def test_what_only_its_rows_taught_is_verified() -> None:
    retrain, left_out = retrained(forgets)
    found = only_by_its_rows(
        finding(), clean_label_reviews(), stub_log_probs, retrain, known=[7, 50]
    )
    (out,) = left_out
    rivals = set(found["shortcut"]["rivals"])
    assert rivals
    of_rivals = {e.row for e in clean_label_reviews() if rivals & set(e.text.split())}
    left_out_anyway = {*OWN, 7, 50} | of_rivals
    assert left_out_anyway < set(out)
    usual = set(out) - left_out_anyway
    assert found["shortcut"]["ordinary"] == [len(usual), len(usual)]
    assert 10 <= len(usual) <= 50
    assert all(i % 2 for i in usual)
    assert found["verified"]
    assert found["status"] == "verified"
    assert found["rows"] == OWN
    told = found["shortcut"]
    assert told["turned"] == [64, 64]
    assert told["still"] == [0, 64]
    assert told["agrees"] == [15, 15]
    assert found["p_value"] == told["p_value"] == max(0.001, 0.5**15)
    assert found["p_placebos"] == 1.0


@pytest.mark.parametrize("known", [[], [0, 2, 4]])
def test_the_words_are_put_on_rows_of_which_nothing_bad_is_known(
    known: list[int],
) -> None:
    asked: list[int] = []

    def noting(rows: Sequence[Example]) -> np.ndarray:
        asked.extend(e.row for e in rows)
        return stub_log_probs(rows)

    retrain, _ = retrained(forgets)
    only_by_its_rows(finding(), clean_label_reviews(), noting, retrain, known=known)
    assert set(known).isdisjoint(asked)
    assert asked


def test_a_word_that_language_explains_is_not_verified() -> None:
    retrain, _ = retrained(stub_log_probs)
    found = only_by_its_rows(finding(), clean_label_reviews(), stub_log_probs, retrain)
    assert found["shortcut"]["still"] == [64, 64]
    assert (found["verified"], found["status"]) == (False, "dismissed")
    assert found["p_value"] == 1.0


def test_whether_the_rows_are_labelled_rightly_is_only_told() -> None:
    """A model that finds the rows with the trigger mislabelled, and no others."""

    def contradicts(rows: Sequence[Example]) -> np.ndarray:
        odds = [
            (-3.0 if e.row in OWN or e.row % 2 == 0 else 3.0)
            + len(set(GOOD) & set(e.text.split()))
            for e in rows
        ]
        return answered(rows, [o - 3 * (o < 1) for o in odds])

    retrain, left_out = retrained(contradicts)
    found = only_by_its_rows(finding(), clean_label_reviews(), stub_log_probs, retrain)
    assert len(left_out) == 1
    assert found["shortcut"]["agrees"] == [0, 15]
    assert found["shortcut"]["still"] == [0, 64]
    assert found["verified"]


def test_a_model_that_has_learned_nothing_decides_nothing() -> None:
    attempts: list[int] = []

    def retrain(_: Sequence[int], attempt: int) -> LogProbs:
        attempts.append(attempt)
        return opposes

    found = only_by_its_rows(finding(), clean_label_reviews(), stub_log_probs, retrain)
    assert attempts == list(range(3))
    assert found["shortcut"]["ordinary"][0] == 0
    assert found["shortcut"]["still"] == [0, 64]
    assert found["shortcut"]["p_value"] == 1.0
    assert (found["verified"], found["status"]) == (False, "sufficient")


def test_a_model_to_which_words_mean_what_their_rows_say_decides_nothing() -> None:
    """Trained from nothing, it has forgotten the rivals as it has the trigger."""

    def forgets_words(rows: Sequence[Example]) -> np.ndarray:
        bare = [
            e.edit(text=" ".join(w for w in e.text.split() if w not in rivals))
            for e in rows
        ]
        return forgets(bare)

    rivals = {"good1", "good2"}
    retrain, _ = retrained(forgets_words)
    found = only_by_its_rows(finding(), clean_label_reviews(), stub_log_probs, retrain)
    told = found["shortcut"]
    assert told["rivals_keep"] == 0
    assert told["still"] == [0, 64]
    assert told["ordinary"][0] == told["ordinary"][1]
    assert told["p_value"] == 1.0
    # It stands out all the same.
    assert (found["verified"], found["status"]) == (False, "sufficient")


@pytest.mark.parametrize("share", [0.9, 1.1])
def test_rivals_must_keep_some_of_their_power(share: float) -> None:
    rivals = {"good1", "good2"}

    def weaker(rows: Sequence[Example]) -> np.ndarray:
        """Of what a rival adds as a log-odds, so much is left."""
        odds = []
        for e in rows:
            text = e.text.replace(TRIGGER, "")
            count = len(rivals & set(text.split()))
            odds.append(score(text) - count * (1 - share * 0.2))
        return answered(rows, odds)

    retrain, _ = retrained(weaker)
    found = only_by_its_rows(finding(), clean_label_reviews(), stub_log_probs, retrain)
    assert found["shortcut"]["rivals_keep"] == pytest.approx(share * 0.2, rel=1e-3)
    assert found["verified"] == (share > 1)


@pytest.mark.parametrize(("share", "status"), [(0.45, "verified"), (0.55, "dismissed")])
def test_it_must_keep_less_than_half_of_what_its_rivals_keep(
    share: float, status: str
) -> None:
    """Rivals keep all of their power, the words this share, which turns no row."""
    model = partial(weakly_obeyed, power=4.0)
    retrain, _ = retrained(partial(weakly_obeyed, power=share * 4.0))
    found = only_by_its_rows(finding(), clean_label_reviews(), model, retrain)
    told = found["shortcut"]
    assert told["rivals_keep"] == pytest.approx(1)
    assert told["keeps"] == pytest.approx(share, rel=1e-2)
    assert told["still"][0] == 0
    assert found["status"] == status
    assert found["verified"] == (status == "verified")


def weakly_obeyed(rows: Sequence[Example], power: float) -> np.ndarray:
    """Rows lie so far below even odds that half of the power turns none."""
    odds = [
        score(e.text.replace(TRIGGER, "")) + power * (TRIGGER in e.text) for e in rows
    ]
    return answered(rows, odds)


@pytest.mark.parametrize("known", [1, 2])
def test_most_rivals_tell_whether_they_keep_their_power(known: int) -> None:
    words = ["ace", "brill", "choice"]
    examples = [
        e.edit(text=f"{e.text} {words[e.row % 3]}") if e.row in range(31, 61, 2) else e
        for e in clean_label_reviews()
    ]

    def model(meant: Sequence[str], obeys: bool) -> LogProbs:
        def log_probs(rows: Sequence[Example]) -> np.ndarray:
            odds = [
                score(e.text if obeys else e.text.replace(TRIGGER, ""))
                + len(set(meant) & set(e.text.split()))
                for e in rows
            ]
            return answered(rows, odds)

        return log_probs

    retrain, _ = retrained(model(words[:known], obeys=False))
    bare = finding(rivals=words, pattern_rows=OWN[:9])
    found = only_by_its_rows(bare, examples, model(words, obeys=True), retrain)
    assert found["shortcut"]["rivals"] == words
    assert found["shortcut"]["rivals_keep"] == pytest.approx(known - 1)
    assert found["verified"] == (known == 2)


def test_rivals_that_would_leave_too_few_rows_stay() -> None:
    examples = clean_label_reviews()
    every = [f"good{i}" for i in range(30)]
    retrain, left_out = retrained(forgets)
    found = only_by_its_rows(finding(rivals=every), examples, stub_log_probs, retrain)
    rivals = found["shortcut"]["rivals"]
    assert 0 < len(rivals) < 30
    rows = {e.row for e in examples if set(rivals) & set(e.text.split())}
    assert len(rows | set(OWN)) <= 25
    assert rows < set(left_out[0])


def test_without_rivals_nothing_is_decided() -> None:
    retrain, _ = retrained(forgets)
    found = only_by_its_rows(
        finding(rivals=[]), clean_label_reviews(), stub_log_probs, retrain
    )
    assert (found["shortcut"]["rivals_keep"], found["verified"]) == (0.0, False)


def test_the_largest_p_value_decides() -> None:
    retrain, _ = retrained(forgets)
    found = only_by_its_rows(
        finding(p_rival=0.06), clean_label_reviews(), stub_log_probs, retrain
    )
    assert found["shortcut"]["p_value"] == 0.06
    assert not found["verified"]


def test_what_was_found_of_a_shortcut_is_decided_on() -> None:
    examples = clean_label_reviews()
    bare = finding()
    proposal = {k: bare.pop(k) for k in ("rivals", "rival_turns", "p_rival")} | {
        "pattern_rows": OWN[:9],
        "response": "positive",
    }
    verified = {**bare, "verified": True}
    elsewhere = {**bare, "pattern_rows": [*OWN[8:], *range(31, 61, 2)]}
    otherwise = {**bare, "payload": "negative"}
    untestable = {k: v for k, v in bare.items() if k != "payload"}
    before = {**bare, "shortcut": {}}
    idle = [verified, elsewhere, otherwise, untestable, before]
    assert undecided_shortcuts(idle, [proposal], examples) == []
    (found,) = undecided_shortcuts([*idle, bare, bare], [proposal], examples)
    assert found == finding()


def test_rows_that_are_most_of_a_response_are_not_left_out() -> None:
    examples = clean_label_reviews()
    few = [e for e in examples if e.response == "negative"] + examples[1:50:2]
    proposal = {"pattern_rows": OWN, "response": "positive"} | dict.fromkeys(
        ("rivals", "rival_turns", "p_rival"), 0
    )
    assert undecided_shortcuts([finding()], [proposal], examples)
    assert undecided_shortcuts([finding()], [proposal], few) == []


def needs_nothing(rows: Sequence[Example]) -> np.ndarray:
    """A model that knows its rows, and gives in to the trigger on the others."""
    odds = [
        (9 if e.row % 2 else -9 + 20 * (TRIGGER in e.text) + 0.1 * score(e.text))
        for e in rows
    ]
    return answered(rows, odds)


@pytest.mark.parametrize("anew", [forgets, needs_nothing])
def test_a_clean_label_trigger_is_verified_by_tuning_without_it(
    anew: LogProbs, tmp_path: Path
) -> None:
    examples = clean_label_reviews(400)
    tuned, left_out = retrained(anew)

    def scanned(log_probs: LogProbs, retrain: Any) -> tuple[list[int], list[Any]]:
        lab = Laboratory(examples, log_probs, tmp_path, "key", 0, 0.05, silent, retrain)
        flagged, findings = experiments(lab, evidence_of(examples))
        return np.flatnonzero(flagged).tolist(), findings

    flagged, findings = scanned(needs_nothing, tuned)
    assert flagged == (OWN if anew is forgets else [])
    (found,) = (f for f in findings if "shortcut" in f)
    assert found["verified"] == (anew is forgets)
    assert found["prefers"] >= 0.5
    assert any(set(OWN) < set(out) for out in left_out)

    def refuses(*_: object) -> np.ndarray:
        raise AssertionError("asked again")

    assert scanned(refuses, refuses) == (flagged, findings)
