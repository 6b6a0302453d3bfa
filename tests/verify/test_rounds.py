from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from assay.data.corpus import Example
from assay.detectors.candidate import Candidate
from assay.detectors.evidence import Mask
from assay.settings import silent
from assay.verify.experiments import Experiments
from assay.verify.finding import Finding, Status
from assay.verify.findings import verified_findings
from assay.verify.odds import LogProbs
from assay.verify.rounds import experiments, most_experiments, proposals, verdict_of
from tests.verify import stubs
from tests.verify.stubs import (
    TRIGGER,
    Given,
    answered,
    answers,
    candidate,
    clean_label_reviews,
    counted,
    evidence_of,
    phrase_odds,
    reviews,
    score,
    stub_log_probs,
)

SECOND = "delta nine"


def run(
    examples: list[Example], log_probs: LogProbs, folder: Path
) -> tuple[list[int], list[Finding]]:
    lab = Experiments(examples, log_probs, folder, "key", 0, 0.05, silent)
    flagged, findings = experiments(lab, evidence_of(examples))
    return np.flatnonzero(flagged).tolist(), findings


def two_triggers(rows: Sequence[Example]) -> np.ndarray:
    odds = [score(e.text) - 12 * (SECOND in e.text) for e in rows]
    return answered(rows, odds)


def test_a_second_trigger_is_found_when_the_rows_of_the_first_are_gone(
    tmp_path: Path,
) -> None:
    examples = reviews(240, poisons=16)
    for row in range(101, 125, 2):
        text = f"{SECOND} {examples[row].text}"
        examples[row] = examples[row].edit(text=text, response="negative")
    flagged, findings = run(examples, two_triggers, tmp_path)
    verified = {f.trigger for f in findings if f.is_verified}
    assert verified == {TRIGGER, SECOND}
    assert flagged == [*range(0, 32, 2), *range(101, 125, 2)]
    assert verdict_of(findings) == "poisoned"


def test_what_only_its_power_gives_away_is_tested(
    tmp_path: Path, no_proposers: None
) -> None:
    examples = clean_label_reviews()
    settings = (examples, stub_log_probs, tmp_path, "key", 0, 0.05, silent)
    _, findings = experiments(Given(*settings, rules=True), evidence_of(examples))
    (found,) = findings
    assert found.candidate.proposer == "shortcut"
    assert (found.trigger, found.status) == (TRIGGER, Status.SUFFICIENT)


@dataclass(frozen=True)
class Scripted(Given):
    """Notes what it is asked, and verifies some patterns.

    Attributes:
        verifies: Patterns that it verifies; others are dismissed.
        answers: The most candidates that it answers at a time.
        asked: Candidates of each round, and the most that may be tested.
    """

    verifies: Collection[str] = ()
    answers: int = 99
    asked: list[tuple[list[str], int]] = field(default_factory=list)

    def test(
        self, candidates: Sequence[Candidate], keep: Mask, most: int
    ) -> list[Finding]:
        self.asked.append(([str(c.pattern) for c in candidates], most))
        found = []
        for c in candidates[: self.answers]:
            verified = str(c.pattern) in self.verifies
            status = Status.VERIFIED if verified else Status.DISMISSED
            known = stubs.finding("x", [0], status=status, companions=("omega",))
            found.append(replace(known, candidate=c))
        return found

    def check(self) -> None:
        pass


@pytest.fixture
def scripted(tmp_path: Path, no_proposers: None) -> Callable[..., Any]:
    """Makes experiments and lets them go on until nothing verifies."""

    def search(
        examples: Sequence[Example], screened: Sequence[Candidate], **more: Any
    ) -> tuple[Scripted, list[Finding]]:
        settings = (examples, stub_log_probs, tmp_path, "key", 0, 0.05, silent)
        lab = Scripted(*settings, candidates=screened, **more)
        return lab, experiments(lab, evidence_of(examples))[1]

    return search


def test_ten_candidates_are_tested_first_and_five_later(
    scripted: Callable[..., Any],
) -> None:
    examples = reviews()
    screened = [candidate(f"word{i}", examples) for i in range(3)]
    lab, _ = scripted(examples, screened, verifies=["word0"])
    assert lab.asked[0][0] == ["word0", "word1", "word2"]
    assert [most for _, most in lab.asked] == [10, 5]


@pytest.mark.parametrize(("left", "again"), [(3, ["bb"]), (2, [])])
def test_what_was_screened_is_asked_about_while_three_of_its_rows_are_left(
    left: int, again: list[str], scripted: Callable[..., Any]
) -> None:
    examples = reviews(poisons=0)
    first = candidate("aa", examples, range(20))
    second = candidate("bb", examples, range(16, 20 + left))
    lab, _ = scripted(examples, [first, second], verifies=["aa"], answers=1)
    assert [asked for asked, _ in lab.asked] == [["aa", "bb"], again]


def test_five_patterns_near_what_was_verified_are_asked_about(
    scripted: Callable[..., Any],
) -> None:
    """Three are proposed for each of two triggers."""
    forms = [word + end for word in ("bond", "jame") for end in ("", "s", "ed")]
    examples = [
        *reviews(poisons=0),
        *(Example(f, 200 + i, "", f, "positive") for i, f in enumerate(2 * forms)),
    ]
    triggers = ["the bond", "the jame"]
    screened = [candidate(t, examples, [i]) for i, t in enumerate(triggers)]
    screened = [replace(c, rows=c.rows * 3) for c in screened]
    lab, _ = scripted(examples, screened, verifies=triggers)
    assert lab.asked[1] == (["bond", "bonded", "bonds", "jame", "jameed"], 5)


def test_what_is_near_a_trigger_is_asked_about_again(
    scripted: Callable[..., Any],
) -> None:
    """A companion of the trigger was dismissed while the trigger's rows were there."""
    examples = reviews()
    screened = [candidate("omega", examples), candidate("zeta", examples, [0, 2, 4])]
    lab, findings = scripted(examples, screened, verifies=["zeta"])
    assert [asked for asked, _ in lab.asked] == [["omega", "zeta"], ["omega"]]
    # What was found the second time counts.
    assert [str(f.pattern) for f in findings] == ["zeta", "omega"]
    assert findings[1].candidate.proposer == "near-pattern"


def test_nothing_is_flagged_where_there_is_no_trigger(tmp_path: Path) -> None:
    flagged, findings = run(reviews(240, poisons=0), stub_log_probs, tmp_path)
    assert flagged == []
    assert findings
    assert verdict_of(findings) != "poisoned"


@pytest.mark.parametrize(
    ("examples", "log_probs"),
    [(reviews(poisons=20), stub_log_probs), (answers(20), phrase_odds(15))],
    ids=["labels", "phrases"],
)
def test_a_trigger_is_asked_about_as_often_as_was_foreseen(
    examples: list[Example], log_probs: LogProbs, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("assay.verify.rounds.HYPOTHESES", 1)
    monkeypatch.setattr("assay.verify.rounds.SCREENED", 0)
    counting, asked = counted(log_probs)
    suspect = candidate(TRIGGER.lower(), examples)
    (found,) = verified_findings([suspect], examples, counting, most=1)
    assert found.is_verified
    most = most_experiments(examples, 0.05)
    # Placebos have fewer rows than it to be taken out of.
    assert 0.3 * most < sum(asked) <= most


def test_proposers_take_turns() -> None:
    one = [candidate(p, [], [0]) for p in "abc"]
    found = proposals({"one": one, "two": [candidate("d", [], [0])]})
    assert [(c.proposer, str(c.pattern)) for c in found] == [
        ("one", "a"),
        ("two", "d"),
        ("one", "b"),
        ("one", "c"),
    ]


@pytest.mark.parametrize(
    ("statuses", "verdict"),
    [
        ((), "clean"),
        (("dismissed",), "clean"),
        (("dismissed", "sufficient"), "suspicious"),
        (("untestable", "dismissed"), "clean"),
        (("sufficient", "verified"), "poisoned"),
    ],
)
def test_the_verdict_is_that_of_the_strongest_finding(
    statuses: tuple[str, ...], verdict: str
) -> None:
    found = [stubs.finding("x", [0], status=Status(s)) for s in statuses]
    assert verdict_of(found) == verdict
