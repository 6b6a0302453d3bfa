from __future__ import annotations

import base64
import gzip
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from assay.report import rows as module
from assay.report.folder import read_run
from assay.report.rows import Packed, pack
from tests.made import entry
from tests.report.conftest import write_run


def unpacked(packed: Packed) -> dict[str, Any]:
    return dict(json.loads(gzip.decompress(base64.b64decode(packed.data))))


@pytest.fixture
def run(tmp_path: Path) -> Path:
    rng = np.random.default_rng(0)
    texts = [" ".join(map(str, rng.integers(1000, size=100))) for _ in range(200)]
    for i in (3, 50, 199):
        texts[i] += " trigger"
    found = entry([3, 50], "trigger", pattern_rows=[3, 50, 199])
    return write_run(tmp_path / "run", texts, ["x", "y"] * 100, [found])


def test_texts_are_cut_to_fit_but_not_those_of_findings(
    run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "BUDGET", 20_000)
    packed = pack(read_run(run))
    rows = unpacked(packed)
    assert len(packed.data) <= 20_000
    assert f"cut to {packed.length} characters" in packed.note
    for row, text in zip(rows["row"], rows["text"], strict=True):
        if row in (3, 50, 199):
            assert text.endswith(" trigger")
        else:
            assert len(text) == packed.length
            assert text.endswith("…")


def test_texts_are_whole_where_they_fit(run: Path) -> None:
    packed = pack(read_run(run))
    assert packed.note == "All 200 rows are here."
    by_row = dict(zip(unpacked(packed)["row"], unpacked(packed)["text"], strict=True))
    table = read_run(run).table
    assert [by_row[i] for i in range(200)] == table["text"].tolist()


def test_of_too_many_rows_the_found_the_highest_and_a_sample_stay(
    run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MOST", 40)
    monkeypatch.setattr(module, "TOP", 20)
    packed = pack(read_run(run))
    rows = unpacked(packed)
    assert packed.shown == len(rows["row"]) == 40
    assert {3, 50, 199} <= set(rows["row"])
    assert rows["rank"] == sorted(rows["rank"])
    # Two are flagged; the third of the finding may be anywhere.
    assert set(range(1, 22)) <= set(rows["rank"])
    assert max(rows["rank"]) > 60
    places = [rows["row"].index(r) for r in (3, 50)]
    assert sorted(rows["members"][0]) == sorted(places)
    assert "40 of 200 rows are here: all 3 that are flagged" in packed.note
    assert "the 20 highest-ranked others, and 17 drawn at random" in packed.note


def test_even_the_found_may_be_too_many(
    run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MOST", 2)
    packed = pack(read_run(run))
    assert unpacked(packed)["flagged"] == [1, 1]
    assert "the 2 highest-ranked of 3 that are flagged" in packed.note


def test_where_nothing_else_helps_found_texts_are_cut_too(
    run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "BUDGET", 1)
    packed = pack(read_run(run))
    rows = unpacked(packed)
    lengths = dict(zip(rows["row"], map(len, rows["text"]), strict=True))
    assert lengths[3] == 70
    assert lengths[4] == 20
    assert packed.note.endswith("are cut to 20 characters, others to 70.")
