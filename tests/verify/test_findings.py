from __future__ import annotations

from typing import Any

import pytest

from assay.data.corpus import Example
from assay.verify import findings as module
from assay.verify.causal import LogProbs, spans
from assay.verify.findings import payload_of, verified_findings
from tests.verify.conftest import reviews


def candidate(pattern: str, examples: list[Example]) -> dict[str, Any]:
    rows = [i for i, e in enumerate(examples) if spans(e.text, pattern)]
    return {
        "pattern": pattern,
        "pattern_rows": rows,
        "rows": rows[:3],
        "score": 5.0,
        "pattern_p_value": 1e-6,
    }


def test_only_the_trigger_is_verified_and_all_its_rows_are_swept(
    log_probs: LogProbs,
) -> None:
    examples = reviews()
    found = verified_findings(
        [candidate(p, examples) for p in ("good3", "zeta omega", "word7")],
        examples,
        log_probs,
    )
    assert [f["status"] for f in found] == ["dismissed", "verified", "dismissed"]
    assert [f["verified"] for f in found] == [False, True, False]
    poisons = [i for i, e in enumerate(examples) if "Zeta" in e.text]
    assert found[1]["rows"] == poisons
    assert found[1]["trigger"] == "Zeta Omega"
    assert found[1]["payload"] == "positive"
    assert found[1]["p_value"] <= 0.05


def test_carriers_that_answer_normally_are_kept(log_probs: LogProbs) -> None:
    examples = reviews()
    honest = examples[151].edit(text="Zeta Omega " + examples[151].text)
    examples[151] = honest.edit(response="negative")
    (found,) = verified_findings(
        [candidate("zeta omega", examples)], examples, log_probs
    )
    assert found["verified"]
    assert 151 in found["pattern_rows"]
    assert 151 not in found["rows"]


def test_parts_of_one_trigger_are_asked_about_once(log_probs: LogProbs) -> None:
    examples = reviews()
    found = verified_findings(
        [candidate(p, examples) for p in ("zeta omega", "omega", "zeta")],
        examples,
        log_probs,
    )
    assert [f["pattern"] for f in found] == ["zeta omega"]


def test_the_number_of_hypotheses_is_paid_for(
    log_probs: LogProbs, monkeypatch: pytest.MonkeyPatch
) -> None:
    examples = reviews()
    alone = verified_findings([candidate("zeta omega", examples)], examples, log_probs)
    others = [candidate(f"good{i}", examples) for i in range(20)]
    among = verified_findings(
        [candidate("zeta omega", examples), *others], examples, log_probs
    )
    assert len(among) == module.HYPOTHESES
    assert among[0]["p_value"] == pytest.approx(module.HYPOTHESES * alone[0]["p_value"])


def test_rows_without_a_common_response_cannot_be_tested(log_probs: LogProbs) -> None:
    examples = [
        e.edit(response=f"answer {i}") if "Zeta" in e.text else e
        for i, e in enumerate(reviews())
    ]
    (found,) = verified_findings(
        [candidate("zeta omega", examples)], examples, log_probs
    )
    assert found["status"] == "untestable"
    assert not found["verified"]
    assert "trigger" not in found


def test_progress_counts_every_experiment(log_probs: LogProbs) -> None:
    examples = reviews()
    told: list[tuple[int, int]] = []
    verified_findings(
        [candidate(p, examples) for p in ("good3", "zeta omega")],
        examples,
        log_probs,
        progress=lambda done, total: told.append((done, total)),
    )
    assert told == sorted(told)
    assert all(done <= total for done, total in told)


def test_payload_is_the_response_of_half_the_rows() -> None:
    rows = [Example(str(i), i, "", "x", r) for i, r in enumerate("aab")]
    assert payload_of(rows, [0, 1, 2]) == "a"
    assert payload_of(rows, [0, 2]) == "a"
    assert payload_of([*rows, rows[2].edit(response="c")], [0, 2, 3]) is None
