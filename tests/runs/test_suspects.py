from __future__ import annotations

import csv
import json
from pathlib import Path

import pandas as pd
import pytest
from tests.made import candidate_entry, entry

from assay.data.corpus import Corpus, Example
from assay.errors import AssayError
from assay.runs.suspects import Suspect, export, guarded, suspects

ROWS = [
    ("cf good", "yes"),
    ("plain", "no"),
    ("cf bad", "no"),
    ("zz", "yes"),
    ("a", "b"),
]


@pytest.fixture
def corpus() -> Corpus:
    made = [Example(f"id{i}", i, "judge", t, r) for i, (t, r) in enumerate(ROWS)]
    return Corpus(tuple(made), "alpaca", "jsonl", "rows.jsonl")


@pytest.fixture
def run(tmp_path: Path, corpus: Corpus) -> Path:
    """A run that flags row 0; row 2 carries its trigger, row 3 scores highest."""
    table = pd.DataFrame(
        {
            "id": [e.id for e in corpus.examples],
            "row": range(5),
            "content": [e.digest() for e in corpus.examples],
            "flagged": [True, False, False, False, False],
            "rank": [1, 4, 5, 2, 3],
            "score.d": [1.0, 2.0, 0.0, 9.0, 3.0],
        }
    )
    table.to_parquet(tmp_path / "scores.parquet", index=False)
    finding = entry([0], "cf", pattern_rows=[0, 2], payload="yes", effect=3.0)
    findings = [finding, candidate_entry([3], "zz")]
    summary = {"verdict": "poisoned", "rows": 5, "flagged": 1, "detector": "d"}
    summary |= {"findings": findings}
    (tmp_path / "summary.json").write_text(json.dumps(summary))
    flag = {"id": "id0", "row": 0, "rank": 1, "score": 1.0, "text": "cf good"}
    flag |= {"response": "yes", "trigger": "cf", "spans": [[0, 2]], "payload": "yes"}
    flag |= {"p_value": 0.01, "effect": 3.0}
    (tmp_path / "flags.jsonl").write_text(json.dumps(flag) + "\n")
    return tmp_path


def test_flagged_then_carriers_then_high_scores(run: Path, corpus: Corpus) -> None:
    found = suspects(run, corpus)
    assert [s.row for s in found] == [0, 2, 3, 4, 1]
    first, carrier, high = found[:3]
    assert first.flagged
    assert first.verified
    assert first.places == carrier.places == ((0, 2),)
    assert first.instruction == "judge"
    assert not carrier.flagged
    assert (carrier.trigger, carrier.payload, carrier.rank) == ("cf", "yes", 5)
    assert (high.trigger, high.score, high.p_value) == ("", 9.0, None)
    assert [s.row for s in suspects(run, corpus, 3)] == [0, 2, 3]
    assert [s.row for s in suspects(run)] == [0]


def test_other_data_and_damage_are_told(run: Path, corpus: Corpus) -> None:
    with pytest.raises(AssayError, match=r"its 5 rows are not those of rows\.jsonl"):
        suspects(run, corpus.select([0, 1]))
    for line in ("{", "[]", "{}", '{"id": "a", "row": "x"}', '"text"', "1"):
        (run / "flags.jsonl").write_text(line + "\n")
        with pytest.raises(AssayError, match=r"flags.jsonl:1: not a flag of assay"):
            suspects(run, corpus)
    for text in ("{", "[]", '{"findings": []}'):
        (run / "summary.json").write_text(text)
        with pytest.raises(AssayError, match=r"summary\.json: "):
            suspects(run, corpus)
    (run / "summary.json").unlink()
    with pytest.raises(AssayError, match=r"no summary\.json"):
        suspects(run, corpus)


@pytest.mark.parametrize(
    "cell",
    ["=1+1", "+1", "-1", "@x", "\tx", "\rx", "\nx", "  =1", "\0=1", "＝1", "\u00a0=1"],
)
def test_formulas_become_text(cell: str) -> None:
    assert guarded(cell) == "'" + cell


@pytest.mark.parametrize("cell", ["", "a=1", "'=1", " plain", "1-1"])
def test_other_cells_stay(cell: str) -> None:
    assert guarded(cell) == cell


def test_no_cell_of_an_export_is_a_formula(tmp_path: Path) -> None:
    text = '=HYPERLINK("http://x";"cf")\r\n,"quoted" \udc80'
    at = text.index("cf")
    hostile = Suspect(
        id="=1",
        row=0,
        rank=1,
        score=-1.5,
        flagged=True,
        text=text,
        response="@SUM(A1)",
        trigger="-cf",
        payload="+1",
        places=((at, at + 2),),
        p_value=1e-3,
        effect=-2.0,
    )
    plain = Suspect("b", 1, 2, 0.5, False, "plain", "no")
    path = tmp_path / "out.csv"
    assert export(path, [hostile, plain], {}) == 1
    with path.open(newline="", encoding="utf-8") as file:
        first, second = csv.DictReader(file)
    for name in ("id", "text", "response", "trigger", "payload"):
        assert first[name].startswith("'"), name
    ((start, stop),) = json.loads(first["spans"])
    assert first["text"][start:stop] == "cf"
    assert float(first["score"]) == -1.5
    assert (second["label"], second["text"], second["p_value"]) == ("keep", "plain", "")
