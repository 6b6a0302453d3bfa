from __future__ import annotations

import json
from pathlib import Path

import pytest
from tests.cli.conftest import only_line
from tests.conftest import Small

from assay.cli import run as command
from assay.errors import AssayError
from assay.runs.folder import earlier_config, read_config, refuse_other

CONFIG = {
    "input": "a.jsonl",
    "model": "m",
    "queries": None,
    "tuning": None,
    "settings": {"rank": 2, "seed": 0, "bf16": False, "max_length": 512},
    "data": "1",
    "key": "x",
}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"input": "b.jsonl", "data": "2"}, r"\(input was a.jsonl, now b.jsonl\)"),
        ({"data": "2"}, r"\(the rows of a.jsonl have changed\)"),
        ({"model": "n"}, r"\(model was m, now n\)"),
        ({}, r"\(the files of the model or the version of assay\)"),
        # A later version has a setting that the earlier one did not know.
        (
            {"settings": {**CONFIG["settings"], "new": 1}},
            r"\(the files of the model or the version of assay\)",
        ),
        (
            {"settings": {"rank": 3, "seed": 1, "bf16": True, "max_length": 64}},
            r"rank was 2, now 3; seed was 0, now 1; bf16 was False, now True, and 1 m",
        ),
    ],
)
def test_another_run_is_refused_by_what_differs(changes: dict, message: str) -> None:
    refuse_other(Path("run"), CONFIG, {**CONFIG, **changes, "key": "x"})
    with pytest.raises(AssayError, match=message):
        refuse_other(Path("run"), CONFIG, {**CONFIG, **changes, "key": "y"})


@pytest.mark.parametrize("name", ["config.json", "summary.json", "flags.jsonl"])
def test_files_of_other_origin_are_never_replaced(
    name: str, small: Small, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / name).write_text('{"mine": true}')
    for more in ([], ["--overwrite"]):
        assert command(small.scan_words(tmp_path, *more)) == 2
        assert f"{name}: not written by assay" in only_line(capsys)
    assert [p.name for p in tmp_path.iterdir()] == [name]
    assert (tmp_path / name).read_text() == '{"mine": true}'


def test_the_folder_of_a_model_is_no_run_folder(small: Small) -> None:
    with pytest.raises(AssayError, match="choose another --out"):
        earlier_config(small.model)


def test_a_run_is_replaced_only_when_asked_and_other_files_stay(
    small: Small,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # Whatever is written in between belongs beside the results, not where all can read.
    elsewhere = tmp_path / "tmp"
    elsewhere.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(elsewhere))
    monkeypatch.setenv("TMPDIR", str(elsewhere))
    out = tmp_path / "run"
    out.mkdir()
    (out / "notes.txt").write_text("mine")
    assert command(small.scan_words(out)) in (0, 1)
    results = ("config.json", "summary.json", "scores.parquet", "options.yaml")
    before = {name: (out / name).read_bytes() for name in results}
    other = tmp_path / "other.jsonl"
    other.write_text("".join(small.rows.open().readlines()[:50]))
    capsys.readouterr()
    words = ["scan", str(other), *small.scan_words(out)[2:]]
    assert command(words) == 2
    assert f"{out}: holds a run of other data or settings (input was" in (
        only_line(capsys)
    )
    assert {name: (out / name).read_bytes() for name in results} == before
    assert command([*words, "--overwrite"]) in (0, 1)
    assert json.loads((out / "summary.json").read_text())["rows"] == 50
    assert (out / "notes.txt").read_text() == "mine"
    assert not list(elsewhere.iterdir())


def test_runs_of_earlier_versions_are_read_and_not_added_to(tmp_path: Path) -> None:
    # Their logs had no header: they may be anybody's.
    (tmp_path / "log.txt").write_text("2026-11-01 04:56:11,465 INFO 1000 rows\n")
    assert read_config(tmp_path) is None
    (tmp_path / "config.json").write_text(json.dumps(CONFIG))
    assert read_config(tmp_path) == CONFIG
    with pytest.raises(AssayError, match=r"log\.txt: not written by assay"):
        earlier_config(tmp_path)
