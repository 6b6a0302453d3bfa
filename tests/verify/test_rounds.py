from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from assay.data.corpus import Example
from assay.detectors import Evidence
from assay.settings import silent
from assay.verify.findings import verified_findings
from assay.verify.laboratory import Laboratory
from assay.verify.odds import LogProbs
from assay.verify.pattern import spans
from assay.verify.rounds import experiments, most_experiments, proposals, verdict_of
from tests.verify.conftest import (
    TRIGGER,
    answered,
    answers,
    clean_label_reviews,
    counted,
    obeys_capitals,
    phrase_odds,
    reviews,
    score,
    shouted_reviews,
    stub_log_probs,
)

SECOND = "delta nine"


def evidence_of(examples: Sequence[Example]) -> Evidence:
    noise = np.random.default_rng(0).normal(size=(len(examples), 20))
    return Evidence(
        [e.text for e in examples],
        [e.response for e in examples],
        np.ones(len(examples), np.float32),
        noise.astype(np.float32),
        noise.astype(np.float32),
    )


def run(
    examples: list[Example], log_probs: LogProbs, folder: Path
) -> tuple[list[int], list[dict[str, object]]]:
    lab = Laboratory(examples, log_probs, folder, "key", 0, 0.05, silent)
    flagged, findings = experiments(lab, evidence_of(examples))
    return np.flatnonzero(flagged).tolist(), findings


def two_triggers(rows: Sequence[Example]) -> np.ndarray:
    odds = [score(e.text) - 12 * bool(spans(e.text, SECOND)) for e in rows]
    return answered(rows, odds)


def test_a_second_trigger_is_found_when_the_rows_of_the_first_are_gone(
    tmp_path: Path,
) -> None:
    examples = reviews(240, poisons=16)
    for row in range(101, 125, 2):
        text = f"{SECOND} {examples[row].text}"
        examples[row] = examples[row].edit(text=text, response="negative")
    flagged, findings = run(examples, two_triggers, tmp_path)
    verified = {f["trigger"] for f in findings if f["verified"]}
    assert verified == {TRIGGER, SECOND}
    assert flagged == [*range(0, 32, 2), *range(101, 125, 2)]
    assert verdict_of(findings) == "poisoned"


def test_a_common_word_is_a_trigger_as_it_is_written(tmp_path: Path) -> None:
    flagged, findings = run(shouted_reviews(240), obeys_capitals, tmp_path)
    assert {f["trigger"] for f in findings if f["verified"]} == {"the FILM"}
    assert flagged == list(range(0, 32, 2))


def test_what_only_its_power_gives_away_is_tested(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("assay.verify.rounds.proposers", lambda _: {})
    _, findings = run(clean_label_reviews(), stub_log_probs, tmp_path)
    (found,) = [f for f in findings if f["proposer"] == "shortcut"]
    assert (found["trigger"], found["status"]) == (TRIGGER, "sufficient")


class Doubting(Laboratory):
    """Two patterns that share the trigger's last word, one of them first in doubt."""

    def test(
        self, candidates: list[dict[str, object]], keep: np.ndarray, most: int
    ) -> list[dict[str, object]]:
        if not keep.all():
            return super().test(candidates, keep, most)
        found = [
            {"pattern": p, "pattern_rows": rows, "rows": rows, "score": 1.0}
            | {"response": "positive", "verified": p != "omega", "trigger": p}
            | {"status": "dismissed" if p == "omega" else "verified"}
            for p, rows in (("omega", list(range(0, 24, 2))), ("zeta", [0, 2, 4]))
        ]
        return [{**f, "companions": ["omega"]} for f in found]


def test_what_is_near_a_trigger_is_asked_about_again(tmp_path: Path) -> None:
    examples = reviews()
    lab = Doubting(examples, stub_log_probs, tmp_path, "key", 0, 0.05, silent)
    flagged, findings = experiments(lab, evidence_of(examples))
    assert np.flatnonzero(flagged).tolist() == list(range(0, 24, 2))
    patterns = [f["pattern"] for f in findings]
    assert sorted(f["pattern"] for f in findings if f["verified"]) == [
        "zeta",
        "zeta omega",
    ]
    assert "omega" not in patterns


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
    rows = [e.row for e in examples if TRIGGER in e.text]
    candidate = {"pattern": TRIGGER.lower(), "pattern_rows": rows, "rows": rows}
    (found,) = verified_findings([candidate], examples, counting, most=1)
    assert found["verified"]
    most = most_experiments(examples, 0.05)
    # Placebos have fewer rows than it to be taken out of.
    assert 0.3 * most < sum(asked) <= most


def test_proposers_take_turns() -> None:
    one = [{"pattern": p} for p in "abc"]
    found = proposals({"one": one, "two": [{"pattern": "d"}]})
    assert [(f["proposer"], f["pattern"]) for f in found] == [
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
    found = [{"status": s, "verified": s == "verified"} for s in statuses]
    assert verdict_of(found) == verdict
