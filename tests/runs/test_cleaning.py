"""Splitting rows by the flags of a run that scanned them."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from assay.data.corpus import Corpus, LeftOut
from assay.data.read import read_corpus
from assay.errors import AssayError
from assay.runs.cleaning import as_scanned, clean
from assay.runs.decisions import decide, write_decisions

ROWS = [{"prompt": f"p{i}", "completion": f"c{i % 3}"} for i in range(8)]
POISON = {2, 5}


def put(path: Path, rows: list[dict]) -> Corpus:
    path.write_text("".join(json.dumps(r) + "\n" for r in rows))
    return read_corpus(path)


@pytest.fixture
def scanned(tmp_path: Path) -> Path:
    """The run folder of a scan that flagged rows 2 and 5 of `ROWS`, without ids."""
    corpus = put(tmp_path / "rows.jsonl", ROWS)
    table = pd.DataFrame(
        {
            "id": [e.id for e in corpus.examples],
            "content": [e.digest() for e in corpus.examples],
            "flagged": [i in POISON for i in range(len(ROWS))],
        }
    )
    run = tmp_path / "run"
    run.mkdir()
    table.to_parquet(run / "scores.parquet")
    return run


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_rows_are_cleaned_by_content_in_whatever_order(
    scanned: Path, tmp_path: Path, seed: int
) -> None:
    order = np.random.default_rng(seed).permutation(len(ROWS))
    corpus = put(tmp_path / "moved.jsonl", [ROWS[i] for i in order])
    kept, removed = clean(corpus, scanned)
    assert {e.text for e in removed.examples} == {"p2", "p5"}
    assert [e.text for e in kept.examples] == [
        f"p{i}" for i in order if i not in POISON
    ]
    assert [e.text for e in as_scanned(corpus, scanned).examples] == [
        r["prompt"] for r in ROWS
    ]


def test_decisions_follow_the_rows_to_their_new_places(
    scanned: Path, tmp_path: Path
) -> None:
    made = [
        decide("row-2", 2, "keep", "p2", "c2"),
        decide("row-7", 7, "remove", "p7", "c1"),
    ]
    write_decisions(tmp_path / "d.jsonl", made)
    corpus = put(tmp_path / "moved.jsonl", ROWS[::-1])
    _, removed = clean(corpus, scanned, tmp_path / "d.jsonl")
    assert [e.text for e in removed.examples] == ["p7", "p5"]


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (
            [*ROWS[:3], {**ROWS[3], "completion": "c9"}, *ROWS[4:]],
            r"row 3 \(id 'row-3'",
        ),
        ([*ROWS, ROWS[0]], "its 8 rows are not those of .* .9 rows.: row 8 .* was not"),
        (ROWS[:-1], "some are missing in it; scan this file first"),
        ([{**ROWS[0], "system": "x"}, *ROWS[1:]], "row 0"),
    ],
)
def test_other_rows_are_refused(
    scanned: Path, tmp_path: Path, rows: list[dict], message: str
) -> None:
    with pytest.raises(AssayError, match=message):
        clean(put(tmp_path / "other.jsonl", rows), scanned)


def test_rows_that_are_alike_keep_their_flags_by_id(tmp_path: Path) -> None:
    rows = [{"id": n, "prompt": "p", "completion": "c"} for n in "abc"]
    corpus = put(tmp_path / "rows.jsonl", rows)
    pd.DataFrame(
        {
            "id": list("abc"),
            "content": [e.digest() for e in corpus.examples],
            "flagged": [False, True, False],
        }
    ).to_parquet(tmp_path / "scores.parquet")
    moved = put(tmp_path / "moved.jsonl", [rows[i] for i in (1, 2, 0)])
    _, removed = clean(moved, tmp_path)
    assert [e.id for e in removed.examples] == ["b"]


def test_runs_of_earlier_versions_are_told_apart_by_text_and_response(
    scanned: Path, tmp_path: Path
) -> None:
    table = pd.read_parquet(scanned / "scores.parquet").drop(columns="content")
    table.to_parquet(scanned / "scores.parquet")
    corpus = read_corpus(tmp_path / "rows.jsonl")
    with pytest.raises(AssayError, match=r"rows\.parquet: cannot be read"):
        clean(corpus, scanned)
    pd.DataFrame(
        {
            "id": [e.id for e in corpus.examples],
            "text": [e.text for e in corpus.examples],
            "response": [e.response for e in corpus.examples],
        }
    ).to_parquet(scanned / "rows.parquet")
    _, removed = clean(put(tmp_path / "moved.jsonl", ROWS[::-1]), scanned)
    assert {e.text for e in removed.examples} == {"p2", "p5"}


def test_rows_that_are_no_examples_are_kept(scanned: Path, tmp_path: Path) -> None:
    text = (tmp_path / "rows.jsonl").read_text() + "{bad\n"
    (tmp_path / "more.jsonl").write_text(text)
    corpus = read_corpus(tmp_path / "more.jsonl", skip_bad_rows=True)
    kept, removed = clean(corpus, scanned)
    assert [left.row for left in kept.left_out] == [8]
    assert isinstance(kept.left_out[0], LeftOut)
    assert removed.left_out == ()
