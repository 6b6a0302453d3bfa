from __future__ import annotations

import json
import logging
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from assay.data.corpus import Corpus
from assay.data.read import read_corpus
from assay.detectors import CHEAP, INFLUENCE
from assay.errors import AssayError
from assay.gather import ScanSettings, choose_queries, load_evidence
from assay.models.tune import TuneSettings
from assay.runs import clean
from assay.scan import scan
from assay.transforms import PAPER_SIX
from tests.conftest import Demo


@pytest.fixture(scope="module")
def train(demo: Demo) -> Corpus:
    return read_corpus(demo.folder / "train.jsonl")


@pytest.fixture(scope="module")
def model(demo: Demo) -> str:
    return str(demo.folder / "poisoned-model")


def test_run_folder_holds_what_is_promised(demo: Demo, train: Corpus) -> None:
    run = demo.folder / "run"
    summary = json.loads((run / "summary.json").read_text())
    for key in ("verdict", "rows", "flagged", "detector", "findings"):
        assert summary[key] == demo.result[key]
    assert set(summary["timings"]) >= {"evidence", "detect", "verify"}
    assert summary["versions"]["assay"]
    scores = pd.read_parquet(run / "scores.parquet")
    assert list(scores["id"]) == [e.id for e in train.examples]
    assert list(scores["row"]) == list(range(1000))
    assert scores["flagged"].dtype == bool
    assert scores["flagged"].sum() == summary["flagged"]
    assert sorted(scores["rank"]) == list(range(1, 1001))
    assert {f"score.{n}" for n in CHEAP} <= set(scores.columns)
    assert scores.filter(like="score.").dtypes.eq("float64").all()
    flags = [json.loads(line) for line in (run / "flags.jsonl").open()]
    assert {f["id"] for f in flags} == set(scores.loc[scores["flagged"], "id"])
    assert [f["rank"] for f in flags] == list(range(1, len(flags) + 1))
    config = json.loads((run / "config.json").read_text())
    assert config["settings"]["detector"] == "gradient-geometry"
    assert (run / "log.txt").read_text()
    assert not list(run.glob("*partial*"))


def test_a_second_scan_reuses_the_first_and_says_so(
    tmp_path: Path, train: Corpus, model: str, caplog: pytest.LogCaptureFixture
) -> None:
    settings = ScanSettings(rank=4)
    first = scan(train, tmp_path, settings, model=model)
    # With the experiments on disk too, the model itself is not needed any more.
    (tmp_path / "model").mkdir()
    with caplog.at_level(logging.INFO, logger="assay"):
        second = scan(train, tmp_path, settings, model=model)
    assert not first["reused"]
    assert second["reused"]
    assert "reusing the evidence" in caplog.text
    assert "reusing the experiments" in caplog.text
    for key in ("verdict", "flagged", "findings", "dismissed"):
        assert second[key] == first[key]
    other = scan(train, tmp_path, ScanSettings(rank=4, seed=1), model=model)
    assert not other["reused"]


def test_damaged_evidence_is_measured_again(
    tmp_path: Path, train: Corpus, model: str, caplog: pytest.LogCaptureFixture
) -> None:
    few = train.select(range(100))
    settings = ScanSettings(rank=2)
    first = scan(few, tmp_path, settings, model=model)
    (path,) = tmp_path.glob("evidence-*")
    path.write_bytes(path.read_bytes()[:500])
    with caplog.at_level(logging.WARNING, logger="assay"):
        second = scan(few, tmp_path, settings, model=model)
    assert "is damaged and is computed again" in caplog.text
    assert not second["reused"]
    assert second["flagged"] == first["flagged"]


def test_influence_detectors_run_on_one_set_of_inputs(
    tmp_path: Path, train: Corpus, model: str
) -> None:
    settings = ScanSettings(detector="voting", queries=4, factor_rows=16, rank=2)
    summary = scan(train.select(range(200)), tmp_path, settings, model=model)
    assert summary["detector"] == "voting"
    scores = pd.read_parquet(tmp_path / "scores.parquet")
    assert {f"score.{n}" for n in (*CHEAP, *INFLUENCE)} <= set(scores.columns)
    (path,) = tmp_path.glob("evidence-*")
    evidence = load_evidence(path, train.select(range(200)))
    assert evidence is not None
    assert set(evidence.influence) == {
        "original",
        *(t.name for t in PAPER_SIX),
    }
    assert all(np.std(v) > 0 for v in evidence.influence.values())


def test_queries_are_the_same_inputs_before_and_after(train: Corpus) -> None:
    sets = choose_queries(train.examples, 5, seed=0)
    assert len(sets) == 7
    for name, rows in sets.items():
        assert [e.id for e in rows] == [e.id for e in sets["original"]]
        if name != "original":
            assert all(
                a.text != b.text for a, b in zip(rows, sets["original"], strict=True)
            )
    other = choose_queries(train.examples, 5, seed=1)
    assert other["original"] != sets["original"]


def test_without_verification_every_coherent_group_is_flagged(
    tmp_path: Path, train: Corpus, model: str
) -> None:
    summary = scan(train, tmp_path, ScanSettings(verify=False), model=model)
    assert summary["verdict"] == "suspicious"
    assert "verify" not in summary["timings"]
    assert all("verified" not in f for f in summary["findings"])


def test_a_proxy_is_tuned_once(
    tmp_path: Path, train: Corpus, model: str, caplog: pytest.LogCaptureFixture
) -> None:
    few = train.select(range(60))
    proxy = TuneSettings(epochs=1, lora_rank=2)
    settings = ScanSettings(rank=2)
    summary = scan(few, tmp_path, settings, base_model=model, proxy=proxy)
    assert "tune" in summary["timings"]
    assert (tmp_path / "proxy" / "adapter_model.safetensors").is_file()
    again = scan(few, tmp_path, settings, base_model=model, proxy=proxy)
    assert again["reused"]
    assert again["flagged"] == summary["flagged"]


def test_clean_data_has_nothing_flagged(tmp_path: Path, demo: Demo) -> None:
    kept = read_corpus(demo.folder / "clean.jsonl")
    model = str(demo.folder / "clean-model")
    summary = scan(kept, tmp_path, ScanSettings(), model=model)
    assert summary["flagged"] == 0
    assert summary["verdict"] != "poisoned"


def test_small_response_groups_are_warned_about(
    tmp_path: Path, train: Corpus, model: str, caplog: pytest.LogCaptureFixture
) -> None:
    lonely = train.examples[0].edit(response="neutral")
    few = train.with_examples([lonely, *train.examples[1:100]])
    with caplog.at_level(logging.WARNING, logger="assay"):
        summary = scan(few, tmp_path, ScanSettings(rank=2), model=model)
    assert "1 of 3 responses have fewer than 20 rows" in caplog.text
    assert summary["rows"] == 100


def test_settings_that_make_no_sense(tmp_path: Path, train: Corpus, model: str) -> None:
    with pytest.raises(AssayError, match="either --model"):
        scan(train, tmp_path, ScanSettings())
    with pytest.raises(AssayError, match="either --model"):
        scan(train, tmp_path, ScanSettings(), model=model, base_model=model)
    with pytest.raises(AssayError, match="unknown detector 'magic'; known: gradient"):
        scan(train, tmp_path, ScanSettings(detector="magic"), model=model)
    with pytest.raises(AssayError, match="one row; a scan compares"):
        scan(train.select([0]), tmp_path, ScanSettings(), model=model)


def test_a_run_of_other_data_is_refused(demo: Demo, train: Corpus) -> None:
    with pytest.raises(AssayError, match="its 1000 rows are not those of"):
        clean(train.select(range(10)), demo.folder / "run")
    with pytest.raises(AssayError, match="not a run folder"):
        clean(train, demo.folder)
