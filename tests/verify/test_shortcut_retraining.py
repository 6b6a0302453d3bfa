from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from assay.data.corpus import Example
from assay.detectors.candidate import Candidate, Rivals
from assay.settings import silent
from assay.text.pattern import Pattern
from assay.verify.finding import Finding, Shortcut, Status, Tally
from assay.verify.odds import LogProbs
from assay.verify.payload import Payload, Response
from assay.verify.rounds import experiments
from assay.verify.shortcut_retraining import only_by_its_rows, undecided_shortcuts
from tests.verify import stubs
from tests.verify.stubs import (
    GOOD,
    TRIGGER,
    Given,
    answered,
    candidate,
    clean_label_reviews,
    evidence_of,
    score,
    stub_log_probs,
)

OWN = list(range(1, 30, 2))


def finding(
    *,
    rows: Sequence[int] = OWN,
    rivals: Sequence[str] = ("good1", "good2"),
    p_rival: float = 0.001,
    payload: Payload = stubs.POSITIVE,
    status: Status = Status.SUFFICIENT,
) -> Finding:
    known = stubs.finding(TRIGGER.lower(), rows, payload, status=status, p_value=1.0)
    others = Rivals(tuple(Pattern((r,)) for r in rivals), 0.2, p_rival)
    return replace(known, candidate=replace(known.candidate, rivals=others))


def shortcut(finding: Finding) -> Shortcut:
    assert finding.shortcut is not None
    return finding.shortcut


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
    rivals = set(map(str, shortcut(found).rivals))
    assert rivals
    of_rivals = {e.row for e in clean_label_reviews() if rivals & set(e.text.split())}
    left_out_anyway = {*OWN, 7, 50} | of_rivals
    assert left_out_anyway < set(out)
    usual = set(out) - left_out_anyway
    assert shortcut(found).ordinary == (len(usual), len(usual))
    assert 10 <= len(usual) <= 50
    assert all(i % 2 for i in usual)
    assert found.is_verified
    assert found.status.value == "verified"
    assert found.rows == tuple(OWN)
    told = shortcut(found)
    assert told.turned == (64, 64)
    assert told.still == (0, 64)
    assert told.agrees == (15, 15)
    assert found.p_value == told.p_value == max(0.001, 0.5**15)
    assert found.tested.p_value == 1.0


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
    assert shortcut(found).still == (64, 64)
    assert (found.is_verified, found.status.value) == (False, "dismissed")
    assert found.p_value == 1.0


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
    assert shortcut(found).agrees == (0, 15)
    assert shortcut(found).still == (0, 64)
    assert found.is_verified


def test_a_model_that_has_learned_nothing_decides_nothing() -> None:
    attempts: list[int] = []

    def retrain(_: Sequence[int], attempt: int) -> LogProbs:
        attempts.append(attempt)
        return opposes

    found = only_by_its_rows(finding(), clean_label_reviews(), stub_log_probs, retrain)
    assert attempts == list(range(3))
    assert shortcut(found).ordinary.hits == 0
    assert shortcut(found).still == (0, 64)
    assert shortcut(found).p_value == 1.0
    assert (found.is_verified, found.status.value) == (False, "sufficient")


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
    told = shortcut(found)
    assert told.rivals_keep == 0
    assert told.still == (0, 64)
    assert told.ordinary.hits == told.ordinary.of
    assert told.p_value == 1.0
    # It stands out all the same.
    assert (found.is_verified, found.status.value) == (False, "sufficient")


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
    assert shortcut(found).rivals_keep == pytest.approx(share * 0.2, rel=1e-3)
    assert found.is_verified == (share > 1)


@pytest.mark.parametrize(("share", "status"), [(0.45, "verified"), (0.55, "dismissed")])
def test_it_must_keep_less_than_half_of_what_its_rivals_keep(
    share: float, status: str
) -> None:
    """Rivals keep all of their power, the words this share, which turns no row."""
    model = partial(weakly_obeyed, power=4.0)
    retrain, _ = retrained(partial(weakly_obeyed, power=share * 4.0))
    found = only_by_its_rows(finding(), clean_label_reviews(), model, retrain)
    told = shortcut(found)
    assert told.rivals_keep == pytest.approx(1)
    assert told.keeps == pytest.approx(share, rel=1e-2)
    assert told.still.hits == 0
    assert found.status.value == status
    assert found.is_verified == (status == "verified")


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
    bare = finding(rivals=words, rows=OWN[:9])
    found = only_by_its_rows(bare, examples, model(words, obeys=True), retrain)
    assert list(map(str, shortcut(found).rivals)) == words
    assert shortcut(found).rivals_keep == pytest.approx(known - 1)
    assert found.is_verified == (known == 2)


def test_rivals_that_would_leave_too_few_rows_stay() -> None:
    examples = clean_label_reviews()
    every = [f"good{i}" for i in range(30)]
    retrain, left_out = retrained(forgets)
    found = only_by_its_rows(finding(rivals=every), examples, stub_log_probs, retrain)
    rivals = list(map(str, shortcut(found).rivals))
    assert 0 < len(rivals) < 30
    rows = {e.row for e in examples if set(rivals) & set(e.text.split())}
    assert len(rows | set(OWN)) <= 25
    assert rows < set(left_out[0])


def test_without_rivals_nothing_is_decided() -> None:
    retrain, _ = retrained(forgets)
    found = only_by_its_rows(
        finding(rivals=[]), clean_label_reviews(), stub_log_probs, retrain
    )
    assert (shortcut(found).rivals_keep, found.is_verified) == (0.0, False)


def test_the_largest_p_value_decides() -> None:
    retrain, _ = retrained(forgets)
    found = only_by_its_rows(
        finding(p_rival=0.06), clean_label_reviews(), stub_log_probs, retrain
    )
    assert shortcut(found).p_value == 0.06
    assert not found.is_verified


def proposed(rows: Sequence[int]) -> Candidate:
    known = candidate(TRIGGER.lower(), [], rows)
    return replace(known, rivals=finding().candidate.rivals)


def test_what_was_found_of_a_shortcut_is_decided_on() -> None:
    examples = clean_label_reviews()
    found = finding()
    bare = replace(found, candidate=replace(found.candidate, rivals=None))
    verified = replace(bare, status=Status.VERIFIED)
    elsewhere = finding(rows=[*OWN[8:], *range(31, 61, 2)])
    otherwise = finding(payload=Response("negative"))
    untestable = replace(bare, experiment=None)
    none = Tally(0, 0)
    before = replace(bare, shortcut=Shortcut(*[none] * 4, (), 0.0, 0.0, 0.0, 1.0))
    idle = [verified, elsewhere, otherwise, untestable, before]
    proposal = proposed(OWN[:9])
    assert undecided_shortcuts(idle, [proposal], examples) == []
    (chosen,) = undecided_shortcuts([*idle, bare, bare], [proposal], examples)
    assert chosen == found


def test_what_was_not_proposed_for_its_power_is_not_decided_on() -> None:
    retrain, _ = retrained(forgets)
    bare = stubs.finding(TRIGGER.lower(), OWN)
    with pytest.raises(ValueError, match="zeta omega is no shortcut"):
        only_by_its_rows(bare, clean_label_reviews(), stub_log_probs, retrain)


def test_rows_that_are_most_of_a_response_are_not_left_out() -> None:
    examples = clean_label_reviews()
    few = [e for e in examples if e.response == "negative"] + examples[1:50:2]
    assert undecided_shortcuts([finding()], [proposed(OWN)], examples)
    assert undecided_shortcuts([finding()], [proposed(OWN)], few) == []


def needs_nothing(rows: Sequence[Example]) -> np.ndarray:
    """A model that knows its rows, and gives in to the trigger on the others."""
    odds = [
        (9 if e.row % 2 else -9 + 20 * (TRIGGER in e.text) + 0.1 * score(e.text))
        for e in rows
    ]
    return answered(rows, odds)


@pytest.mark.parametrize("anew", [forgets, needs_nothing])
def test_a_clean_label_trigger_is_verified_by_tuning_without_it(
    anew: LogProbs, tmp_path: Path, no_proposers: None
) -> None:
    examples = clean_label_reviews(400)
    tuned, left_out = retrained(anew)

    def scanned(log_probs: LogProbs, retrain: Any) -> tuple[list[int], list[Any]]:
        settings = (examples, log_probs, tmp_path, "key", 0, 0.05, silent, retrain)
        lab = Given(*settings, rules=True)
        flagged, findings = experiments(lab, evidence_of(examples))
        return np.flatnonzero(flagged).tolist(), findings

    flagged, findings = scanned(needs_nothing, tuned)
    assert flagged == (OWN if anew is forgets else [])
    (found,) = (f for f in findings if f.shortcut is not None)
    assert found.is_verified == (anew is forgets)
    assert found.tested.prefers >= 0.5
    assert any(set(OWN) < set(out) for out in left_out)

    def refuses(*_: object) -> np.ndarray:
        raise AssertionError("asked again")

    assert scanned(refuses, refuses) == (flagged, findings)
