from __future__ import annotations

from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from assay.data.corpus import Example
from assay.settings import silent
from assay.verify.causal import SPREADS
from assay.verify.odds import LogProbs
from assay.verify.rounds import Laboratory, experiments
from assay.verify.shortcut import (
    FEWEST_WORDS,
    GLANCES,
    STRONGEST,
    TURNED,
    only_by_its_rows,
    shortcuts,
    undecided_shortcuts,
)
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
from tests.verify.test_rounds import evidence_of

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
        "rival": "good1",
        "rival_turns": 0.2,
        "p_rival": 0.001,
        **more,
    }


def test_what_turns_all_rows_is_proposed_where_no_other_word_does() -> None:
    told: list[tuple[int, int]] = []
    examples = clean_label_reviews()
    (found,) = shortcuts(
        examples, stub_log_probs, progress=lambda *done: told.append(done)
    )
    assert (found["pattern"], found["pattern_rows"]) == (TRIGGER.lower(), OWN)
    assert (found["response"], found["score"]) == ("positive", 1.0)
    assert found["rival"] in GOOD
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

    assert FEWEST_WORDS > 3
    assert shortcuts(examples, log_probs) == []


def test_the_number_of_words_tried_is_paid_for() -> None:
    (found,) = shortcuts(clean_label_reviews(), stub_log_probs)
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
    assert sum(asked) <= told[-1][1] + 2 * (TURNED + STRONGEST)
    assert sum(asked) > GLANCES * 60


def retrained(log_probs: LogProbs) -> Any:
    """Tuning that yields this model, and what was left out."""
    left_out: list[list[int]] = []

    def retrain(rows: Sequence[int], attempt: int) -> LogProbs:
        assert attempt == 0
        left_out.append(list(rows))
        return log_probs

    return retrain, left_out


def forgets(rows: Sequence[Example]) -> np.ndarray:
    """A model that has never seen the trigger."""
    return stub_log_probs([e.edit(text=e.text.replace(TRIGGER, "")) for e in rows])


def opposes(rows: Sequence[Example]) -> np.ndarray:
    """A model that finds the rows with the trigger mislabelled."""
    odds = [-3.0 for _ in rows]
    return answered(rows, odds)


def test_what_only_its_rows_taught_is_verified() -> None:
    retrain, left_out = retrained(forgets)
    found = only_by_its_rows(
        finding(), clean_label_reviews(), stub_log_probs, retrain, known=[7, 50]
    )
    assert left_out == [sorted({*OWN, 7, 50})]
    assert found["verified"]
    assert found["status"] == "verified"
    assert found["rows"] == OWN
    told = found["shortcut"]
    assert told["turned"] == [TURNED, TURNED]
    assert told["still"] == [0, TURNED]
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
    assert found["shortcut"]["still"] == [TURNED, TURNED]
    assert (found["verified"], found["status"]) == (False, "sufficient")
    assert found["p_value"] == 1.0


def test_a_model_that_has_learned_nothing_decides_nothing() -> None:
    retrain, left_out = retrained(opposes)
    found = only_by_its_rows(finding(), clean_label_reviews(), stub_log_probs, retrain)
    assert len(left_out) == 1
    assert found["shortcut"]["agrees"] == [0, 15]
    assert found["shortcut"]["still"] == [0, TURNED]
    assert not found["verified"]


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
    proposal = {k: bare.pop(k) for k in ("rival", "rival_turns", "p_rival")} | {
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
        ("rival", "rival_turns", "p_rival"), 0
    )
    assert undecided_shortcuts([finding()], [proposal], examples)
    assert undecided_shortcuts([finding()], [proposal], few) == []


def needs_nothing(rows: Sequence[Example]) -> np.ndarray:
    """A model that knows its rows, and gives in to the trigger on the others."""
    odds = [
        9 * (1 if e.row % 2 else -1) + 20 * (TRIGGER in e.text and e.row % 2 == 0)
        for e in rows
    ]
    return answered(rows, odds)


@pytest.mark.parametrize("anew", [forgets, needs_nothing])
def test_a_clean_label_trigger_is_verified_by_tuning_without_it(
    anew: LogProbs, tmp_path: Path
) -> None:
    examples = clean_label_reviews()
    tuned, left_out = retrained(anew)

    def scanned(log_probs: LogProbs, retrain: Any) -> tuple[list[int], list[Any]]:
        lab = Laboratory(examples, log_probs, tmp_path, "key", 0, 0.05, silent, retrain)
        flagged, findings = experiments(lab, evidence_of(examples))
        return np.flatnonzero(flagged).tolist(), findings

    flagged, findings = scanned(needs_nothing, tuned)
    assert flagged == (OWN if anew is forgets else [])
    (found,) = (f for f in findings if "shortcut" in f)
    assert found["verified"] == (anew is forgets)
    assert found["prefers"] >= SPREADS
    assert OWN in left_out

    def refuses(*_: object) -> np.ndarray:
        raise AssertionError("asked again")

    assert scanned(refuses, refuses) == (flagged, findings)
