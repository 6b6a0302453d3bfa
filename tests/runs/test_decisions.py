from __future__ import annotations

from pathlib import Path

import pytest

from assay.errors import AssayError
from assay.runs.decisions import decide, read_decisions, row_hash, write_decisions

KNOWN = {"a": row_hash("good", "yes"), "b": row_hash("bad \udc80", "no"), "c": None}


def test_decisions_are_read_as_written_and_the_last_counts(tmp_path: Path) -> None:
    path = tmp_path / "decisions.jsonl"
    made = [
        decide("a", 0, "keep", "good", "yes"),
        decide("b", 1, "unsure", "bad \udc80", "no"),
        decide("a", 0, "remove", "good", "yes"),
    ]
    write_decisions(path, made)
    assert read_decisions(path, KNOWN) == {"a": made[2], "b": made[1]}
    assert [p.name for p in tmp_path.iterdir()] == ["decisions.jsonl"]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("{", "decisions.jsonl:2: not valid JSON"),
        ("[]", "decisions.jsonl:2: not a decision of assay review"),
        ('{"id": "a"}', "not a decision of assay review .no row, decision, when"),
        (
            '{"id": "a", "row": 0, "decision": "drop", "when": "", "content": ""}',
            "decision 'drop'; expected keep, remove or unsure",
        ),
        (
            '{"id": "z", "row": 0, "decision": "keep", "when": "", "content": ""}',
            "no row with id 'z'; these decisions are of other data",
        ),
        (
            '{"id": ["a"], "row": 0, "decision": "keep", "when": "", "content": ""}',
            "no row with id",
        ),
        (
            '{"id": "a", "row": 0, "decision": "keep", "when": "", "content": "0"}',
            "row 'a' had another text or response when it was reviewed",
        ),
    ],
)
def test_bad_lines(line: str, message: str, tmp_path: Path) -> None:
    path = tmp_path / "decisions.jsonl"
    write_decisions(path, [decide("c", 2, "keep", "whatever", "")])
    path.write_text(path.read_text() + line + "\n")
    with pytest.raises(AssayError, match=message):
        read_decisions(path, KNOWN)


def test_a_missing_file(tmp_path: Path) -> None:
    with pytest.raises(AssayError, match=r"cannot be read .No such file"):
        read_decisions(tmp_path / "no.jsonl", KNOWN)
