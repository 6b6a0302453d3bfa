from __future__ import annotations

import json
import logging
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from assay.attacks import ATTACKS
from assay.bench.demo import DemoSettings, base_model, tuning
from assay.cli import run as command
from assay.data.corpus import Corpus, Example
from assay.data.read import read_corpus
from assay.data.sentiment import load_sentiment
from assay.detectors import CHEAP, INFLUENCE
from assay.errors import AssayError
from assay.models.load import save_model
from assay.models.tiny import tiny_causal
from assay.models.tune import tune
from assay.models.tune_settings import TuneSettings
from assay.runs.cleaning import clean
from assay.scanning import inputs
from assay.scanning.inputs import choose_queries
from assay.scanning.measure import load_evidence
from assay.scanning.pipeline import scan
from assay.scanning.query_choice import concentration
from assay.settings import ScanSettings
from assay.transforms import PAPER_SIX
from tests.conftest import Demo, Small
from tests.processes import KILLED, finish, killed_command, start

# Processes, whole scans or a browser: more than a minute in all.
pytestmark = pytest.mark.slow


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
    for flag in flags:
        assert {flag["text"][a:b] for a, b in flag["spans"]} == {"James Bond"}
        assert flag["payload"] == flag["response"] == "positive"
        assert 0 < flag["p_value"] <= 0.05
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
    more = ScanSettings(rank=4, seed=1)
    with pytest.raises(AssayError, match=r"\(seed was 0, now 1\); choose another"):
        scan(train, tmp_path, more, model=model)
    assert json.loads((tmp_path / "summary.json").read_text()) == second
    other = scan(train, tmp_path, more, model=model, overwrite=True)
    assert not other["reused"]


def test_damaged_evidence_is_measured_again(
    tmp_path: Path, train: Corpus, model: str, caplog: pytest.LogCaptureFixture
) -> None:
    few = train.select(range(100))
    settings = ScanSettings(rank=2)
    first = scan(few, tmp_path, settings, model=model)
    before = arrays(tmp_path)
    (store,) = tmp_path.glob("evidence-*")
    content = bytearray((store / "features.npy").read_bytes())
    content[-5] ^= 1
    (store / "features.npy").write_bytes(content)
    with caplog.at_level(logging.WARNING, logger="assay"):
        second = scan(few, tmp_path, settings, model=model)
    assert "1 finished batches fail their checksum and are measured again" in (
        caplog.text
    )
    assert not second["reused"]
    assert second["flagged"] == first["flagged"]
    assert arrays(tmp_path) == before

    # The log of what is finished lost its end.
    lines = (store / "done.jsonl").read_text()
    assert len(lines.splitlines()) == 4
    (store / "done.jsonl").write_text(lines[: len(lines) * 2 // 3])
    with caplog.at_level(logging.INFO, logger="assay"):
        third = scan(few, tmp_path, settings, model=model)
    assert "2 of 4 batches are finished already" in caplog.text
    assert not third["reused"]
    assert third["flagged"] == first["flagged"]
    assert arrays(tmp_path) == before
    assert scan(few, tmp_path, settings, model=model)["reused"]


def arrays(run: Path) -> dict[str, bytes]:
    """Content of every array of a run's only store."""
    (store,) = run.glob("evidence-*")
    found = {p.name: p.read_bytes() for p in store.glob("*.npy")}
    assert set(found) == {"scores.npy", "losses.npy", "hidden.npy", "features.npy"}
    return found


def test_influence_detectors_run_on_one_set_of_inputs(
    tmp_path: Path, train: Corpus, model: str
) -> None:
    settings = ScanSettings(detector="voting", query_count=4, factor_rows=16, rank=2)
    few = train.select(range(200))
    summary = scan(few, tmp_path, settings, model=model)
    assert summary["detector"] == "voting"
    scores = pd.read_parquet(tmp_path / "scores.parquet")
    assert {f"score.{n}" for n in (*CHEAP, *INFLUENCE)} <= set(scores.columns)
    key = json.loads((tmp_path / "config.json").read_text())["key"]
    (store,) = tmp_path.glob("evidence-*")
    assert store.name == f"evidence-{key[:16]}"
    evidence = load_evidence(store, key, few)
    assert evidence is not None
    assert set(evidence.influence) == {
        "original",
        *(t.name for t in PAPER_SIX),
    }
    assert all(np.std(v) > 0 for v in evidence.influence.values())
    assert load_evidence(tmp_path / "nowhere", key, few) is None
    with pytest.raises(AssayError, match="holds rows of another model, data set"):
        load_evidence(store, key[::-1], few)


def test_transforms_and_rules_are_what_was_asked_for(
    tmp_path: Path, small: Small
) -> None:
    rows = read_corpus(small.rows)
    settings = ScanSettings(
        detector="variance",
        query_count=4,
        factor_rows=16,
        rank=2,
        transforms=("paraphrase", "sorry-not", "antonym-flip"),
        top_k=5,
    )
    first = scan(rows, tmp_path, settings, model=str(small.model))
    assert first["flagged"] == 5
    key = json.loads((tmp_path / "config.json").read_text())["key"]
    (store,) = tmp_path.glob("evidence-*")
    evidence = load_evidence(store, key, rows)
    assert evidence is not None
    assert dict(evidence.categories) == {
        "paraphrase": "semantic",
        "sorry-not": "wrapper",
        "antonym-flip": "lexicon",
    }
    assert set(evidence.influence) == {"original", *evidence.categories}
    # Another rule reads the same measurements.
    settings = replace(settings, top_k=7, single_transform="paraphrase")
    again = scan(rows, tmp_path, settings, model=str(small.model))
    assert again["reused"]
    assert again["flagged"] == 7


def test_test_inputs_are_chosen_by_what_is_suspected(
    tmp_path: Path,
    train: Corpus,
    model: str,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    drawn = []

    def choose(*given: Any) -> dict[str, list[Example]]:
        drawn.append((choose_queries(*given), given[-1]))
        return drawn[-1][0]

    monkeypatch.setattr(inputs, "choose_queries", choose)
    how = {"rank": 4, "detector": "voting", "query_count": 4, "factor_rows": 16}
    settings = ScanSettings(**how, query_choice="candidates")
    with caplog.at_level(logging.INFO, logger="assay"):
        scan(train, tmp_path / "run", settings, model=model)
    ((sets, patterns),) = drawn
    assert any("bond" in str(p).lower() for p in patterns)
    assert all(concentration(e, patterns) > 0 for e in sets["original"])
    assert "test inputs are chosen by what is suspected: one pass more" in caplog.text
    # What has been measured is not measured again, though it was chosen by evidence.
    with caplog.at_level(logging.INFO, logger="assay"):
        again = scan(train, tmp_path / "run", settings, model=model)
    assert again["reused"]
    assert len(drawn) == 1


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
    with pytest.raises(AssayError, match="give --model"):
        scan(train, tmp_path, ScanSettings())
    with pytest.raises(AssayError, match="unknown detector 'magic'; known: gradient"):
        scan(train, tmp_path, ScanSettings(detector="magic"), model=model)
    with pytest.raises(AssayError, match="one row; a scan compares"):
        scan(train.select([0]), tmp_path, ScanSettings(), model=model)


def test_a_run_of_other_data_is_refused(demo: Demo, train: Corpus) -> None:
    with pytest.raises(AssayError, match="its 1000 rows are not those of"):
        clean(train.select(range(10)), demo.folder / "run")
    with pytest.raises(AssayError, match="not a run folder"):
        clean(train, demo.folder)


# Seven batches of rows.
BATCHES = ["--token-budget", "170"]


@pytest.fixture(scope="module")
def whole(small: Small, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A scan that nobody interrupted."""
    out = tmp_path_factory.mktemp("whole") / "run"
    assert command(small.scan_words(out, *BATCHES)) == 1
    return out


def test_a_killed_scan_ends_bit_for_bit_the_same(
    small: Small, whole: Path, tmp_path: Path
) -> None:
    out = tmp_path / "run"
    words = small.scan_words(out, *BATCHES)
    assert finish(tmp_path, start(tmp_path, killed_command, words, 3)) == [KILLED]
    (store,) = out.glob("evidence-*")
    assert len((store / "done.jsonl").read_text().splitlines()) == 3
    assert not (out / "summary.json").exists()
    fitted = (out / "factors.safetensors").stat().st_mtime_ns
    assert command(words) == 1
    log = (out / "log.txt").read_text()
    assert "3 of 7 batches are finished already" in log
    assert "reusing the curvature" in log
    assert (out / "factors.safetensors").stat().st_mtime_ns == fitted
    assert arrays(out) == arrays(whole)
    right, found = (pd.read_parquet(o / "scores.parquet") for o in (whole, out))
    pd.testing.assert_frame_equal(found, right, check_exact=True)
    assert right["flagged"].any()
    assert (out / "flags.jsonl").read_bytes() == (whole / "flags.jsonl").read_bytes()


def test_curvature_is_kept_for_another_damping_and_refused_for_another_length(
    small: Small, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "run"
    kept = out / "factors.safetensors"
    command(small.scan_words(out))
    assert "reusing the curvature" not in capsys.readouterr().err
    first = kept.read_bytes()
    command(small.scan_words(out, "--damping", "0.5", "--overwrite"))
    shown = capsys.readouterr().err
    assert f"reusing the curvature in {kept}" in shown
    assert "reusing the evidence" not in shown
    assert kept.read_bytes() == first
    # Both scans' rows are there: each has its own folder.
    assert len(list(out.glob("evidence-*"))) == 2
    scores = [np.load(s / "scores.npy") for s in sorted(out.glob("evidence-*"))]
    assert not np.allclose(*scores)
    command(small.scan_words(out, "--max-length", "64", "--overwrite"))
    shown = capsys.readouterr().err
    assert (
        f"{kept}: these factors were fitted with another maximal length; fit them "
        "again: they are fitted again"
    ) in shown
    assert "reusing the curvature" not in shown
    # The file is the last scan's now.
    more = ["--max-length", "64", "--damping", "0.5", "--overwrite"]
    command(small.scan_words(out, *more))
    assert "reusing the curvature" in capsys.readouterr().err


def test_damaged_curvature_is_fitted_again(
    small: Small, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "run"
    command(small.scan_words(out))
    kept = out / "factors.safetensors"
    first = kept.read_bytes()
    header = int.from_bytes(first[:8], "little")
    kept.write_bytes(first[:-100])
    capsys.readouterr()
    command(small.scan_words(out, "--damping", "0.5", "--overwrite"))
    shown = capsys.readouterr().err
    assert "not a file of factors, or damaged" in shown
    assert "they are fitted again" in shown
    # Entries of the header have no order; the numbers are the same.
    assert kept.read_bytes()[8 + header :] == first[8 + header :]


def test_curvature_of_another_run_can_be_given(
    small: Small, whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fitted(*_: object, **__: object) -> None:
        raise AssertionError("nothing is to be fitted")

    monkeypatch.setattr("assay.scanning.measure.fit_factors", fitted)
    out, kept = tmp_path / "run", str(whole / "factors.safetensors")
    assert command(small.scan_words(out, *BATCHES, "--factors", kept)) == 1
    assert not (out / "factors.safetensors").exists()
    found, right = loaded(out), loaded(whole)
    for name, array in right.items():
        scale = np.abs(array).max()
        assert np.abs(found[name] - array).max() <= 1e-5 * scale, name


def loaded(run: Path) -> dict[str, np.ndarray]:
    (store,) = run.glob("evidence-*")
    return {p.stem: np.load(p) for p in store.glob("*.npy")}


def test_curvature_of_another_model_exits_2(
    small: Small, whole: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = read_corpus(small.rows).examples
    other = tiny_causal(
        [f"judge the film Input Output {e.text} {e.response}" for e in rows],
        width=32,
        seed=1,
    )
    save_model(other, tmp_path / "other")
    kept = str(whole / "factors.safetensors")
    out = tmp_path / "run"
    more = ["--model", str(tmp_path / "other"), "--factors", kept]
    assert command(small.scan_words(out, *more)) == 2
    shown = capsys.readouterr().err
    assert (
        f"assay: error: {kept}: these factors were fitted with another model; fit them "
        "again"
    ) in " ".join(shown.split())
    assert not (out / "summary.json").exists()
    assert not list(out.glob("evidence-*"))
    assert command(small.scan_words(out, "--factors", str(tmp_path / "nowhere"))) == 2
    assert "no such file of factors" in capsys.readouterr().err


@pytest.mark.parametrize("method", ["identity", "diagonal", "repsim"])
def test_other_attributions_need_no_factors(
    method: str, small: Small, whole: Path, tmp_path: Path
) -> None:
    out = tmp_path / "run"
    assert command(small.scan_words(out, "--attribution", method)) in (0, 1)
    assert not (out / "factors.safetensors").exists()
    found, right = (
        pd.read_parquet(o / "scores.parquet")["score.direct-influence"]
        for o in (out, whole)
    )
    assert found.std() > 0
    assert not np.allclose(found, right)
    if method == "repsim":
        (store,) = out.glob("evidence-*")
        key = json.loads((out / "config.json").read_text())["key"]
        evidence = load_evidence(store, key, read_corpus(small.rows))
        assert evidence is not None
        assert len(evidence.influence) == 7
        assert all(np.abs(v).max() <= 1 + 1e-6 for v in evidence.influence.values())
    # What has been measured is read again as it was.
    assert command(small.scan_words(out, "--attribution", method)) in (0, 1)
    again = pd.read_parquet(out / "scores.parquet")["score.direct-influence"]
    pd.testing.assert_series_equal(again, found, check_exact=True)
    assert json.loads((out / "summary.json").read_text())["reused"]


def test_checkpointing_and_batches_change_no_measurement(
    small: Small, whole: Path, tmp_path: Path
) -> None:
    out = tmp_path / "run"
    command(small.scan_words(out, "--checkpointing", "--token-budget", "300"))
    found = loaded(out)
    for name, array in loaded(whole).items():
        scale = np.abs(array).max()
        assert np.abs(found[name] - array).max() < 1e-4 * scale, name
    flags = [pd.read_parquet(o / "scores.parquet")["flagged"] for o in (out, whole)]
    assert flags[0].equals(flags[1])


def test_two_triggers_are_both_found(tmp_path: Path) -> None:
    train, _ = load_sentiment(None, train_rows=1000, test_rows=10)
    one = ATTACKS["badnets"].poison(train, 30, seed=1)
    two = ATTACKS["badnets"].poison(
        one.corpus, 30, target="negative", trigger="zeta omega", seed=2
    )
    how = DemoSettings(fast=True)
    lm = base_model(how, two.corpus)
    tune(lm, two.corpus, tmp_path / "model", tuning(how))
    summary = scan(
        two.corpus,
        tmp_path / "run",
        ScanSettings(template="plain"),
        model=str(tmp_path / "model"),
    )
    verified = [f for f in summary["findings"] if f["verified"]]
    assert {(f["trigger"], f["payload"]) for f in verified} == {
        ("cf", "positive"),
        ("zeta omega", "negative"),
    }
    _, removed = clean(two.corpus, tmp_path / "run")
    poisons = {i for i, e in enumerate(two.corpus.examples) if "zeta omega" in e.text}
    poisons |= set(one.rows)
    flagged = {e.row for e in removed.examples}
    assert len(flagged & poisons) >= 0.95 * len(poisons)
    assert len(flagged - poisons) <= 1
