"""No command replaces a file unasked, and none ever what it reads."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

import assay
from assay.cli import run
from assay.models.tune import DONE
from tests.conftest import Small

# Processes, whole scans or a browser: more than a minute in all.
pytestmark = pytest.mark.slow


def state(folder: Path) -> dict[str, bytes | None]:
    """All that is in a folder, with its content."""
    return {
        str(p.relative_to(folder)): p.read_bytes() if p.is_file() else None
        for p in sorted(folder.rglob("*"))
    }


@pytest.fixture(scope="module")
def scanned(small: Small, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of the small rows."""
    out = tmp_path_factory.mktemp("overwriting") / "run"
    words = ["scan", str(small.rows), "--model", str(small.model), "--rank", "2"]
    assert run([*words, "--no-verify", "--out", str(out)]) in (0, 1)
    return out


@pytest.fixture
def work(
    small: Small, scanned: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Path:
    """A working directory with data, a model and a run."""
    monkeypatch.chdir(tmp_path)
    shutil.copy(small.rows, "rows.jsonl")
    shutil.copytree(small.model, "model")
    shutil.copytree(scanned, "run")
    return tmp_path


Fails = Callable[..., str]


@pytest.fixture
def fails(work: Path, capsys: pytest.CaptureFixture[str]) -> Fails:
    """Run a command that must end with status 2 and change nothing at all."""

    def check(*words: str) -> str:
        before = state(work)
        capsys.readouterr()
        assert run(list(words)) == 2
        captured = capsys.readouterr()
        assert captured.out == ""
        assert state(work) == before
        (line,) = [x for x in captured.err.splitlines() if "assay: error: " in x]
        assert "fault" not in line
        return line

    return check


def test_attack(work: Path, fails: Fails) -> None:
    words = ("attack", "rows.jsonl", "--attack", "badnets", "--count", "3", "--out")
    os.link("rows.jsonl", "hard.jsonl")
    Path("soft.jsonl").symlink_to("rows.jsonl")
    for out in ("rows.jsonl", "./run/../rows.jsonl", "hard.jsonl", "soft.jsonl"):
        for more in ((), ("--overwrite",)):
            assert "is read by the same command" in fails(*words, out, *more)
    # The note beside the data is a result, too.
    Path("bad.jsonl.attack.json").write_text("mine")
    line = fails(*words, "bad.jsonl")
    assert "bad.jsonl.attack.json: exists already; name another output, or" in line
    assert run([*words, "bad.jsonl", "--overwrite"]) == 0
    assert json.loads(Path("bad.jsonl.attack.json").read_text())["payload"]
    Path("bad.jsonl.attack.json").unlink()
    assert "bad.jsonl: exists already" in fails(*words, "bad.jsonl")
    before = Path("bad.jsonl").read_bytes()
    assert run([*words, "bad.jsonl", "--overwrite", "--seed", "5"]) == 0
    assert Path("bad.jsonl").read_bytes() != before
    # Data whose name is that of the note.
    Path("x.jsonl.attack.json").write_bytes(Path("rows.jsonl").read_bytes())
    words = ("attack", "x.jsonl.attack.json", "--attack", "badnets", "--count", "3")
    line = fails(*words, "--out", "x.jsonl", "--overwrite")
    assert "x.jsonl.attack.json: is read by the same command" in line


def test_clean(work: Path, fails: Fails) -> None:
    words = ("clean", "rows.jsonl", "--run", "run")
    assert run([*words, "--out", "out"]) == 0
    first = state(Path("out"))
    assert "out/clean.jsonl: exists already; name" in fails(*words, "--out", "out")
    Path("out/clean.jsonl").unlink()
    # A second one must not empty what the first one has removed.
    assert "out/removed.jsonl: exists already" in fails(*words, "--out", "out")
    assert run([*words, "--out", "out", "--overwrite"]) == 0
    assert state(Path("out")) == first
    assert run([*words]) == 0
    assert "run/clean.jsonl: exists already" in fails(*words)
    # Its own input.
    shutil.copy("rows.jsonl", "out/clean.jsonl")
    words = ("clean", "out/clean.jsonl", "--run", "run", "--out", "out")
    for more in ((), ("--overwrite",)):
        assert "out/clean.jsonl: is read by the same" in fails(*words, *more)
    os.link("out/clean.jsonl", "other.jsonl")
    line = fails("clean", "other.jsonl", *words[2:], "--overwrite")
    assert "out/clean.jsonl: is read by the same" in line
    # What was decided.
    shutil.move("out/removed.jsonl", "decisions.jsonl")
    Path("out/removed.jsonl").symlink_to("../decisions.jsonl")
    words = ("clean", "rows.jsonl", *words[2:], "--decisions", "decisions.jsonl")
    assert "out/removed.jsonl: is read by" in fails(*words, "--overwrite")


def test_clean_of_a_datasets_folder(work: Path, fails: Fails) -> None:
    import datasets

    datasets.Dataset.from_json(str(work / "rows.jsonl")).save_to_disk("data")
    scan = ["scan", "data", "--model", "model", "--rank", "2", "--no-verify"]
    assert run([*scan, "--out", "data-run"]) in (0, 1)
    words = ("clean", "data", "--run", "data-run", "--out")
    # A folder that is read is not one to write into, nor is the data in it.
    for out in ("data", "./data"):
        for more in ((), ("--overwrite",)):
            assert "data: is read by the same command" in fails(*words, out, *more)
    assert run([*words, "out"]) == 0
    assert "out/clean: exists already" in fails(*words, "out")
    words = ("clean", "out/clean", *words[2:])
    assert "out/clean: is read by the same" in fails(*words, "out", "--overwrite")
    shutil.move("out/clean", "parts")
    Path("out/clean").mkdir()
    shutil.move("parts", "out/clean/part")
    words = ("clean", "out/clean/part", *words[2:])
    assert "out/clean: holds out/clean/part" in fails(*words, "out", "--overwrite")


def test_tune(work: Path, fails: Fails, capsys: pytest.CaptureFixture[str]) -> None:
    words = ("tune", "rows.jsonl", "--base-model", "model", "--epochs", "1", "--out")
    Path("link").symlink_to("model")
    for out in ("model", "link", "run/../model"):
        for more in ((), ("--overwrite",)):
            assert "is read by the same command" in fails(*words, out, *more)
    for more in ((), ("--overwrite",)):
        # A folder around the model, or around the data.
        assert "holds " in fails(*words, ".", *more)
    assert run([*words, "tuned"]) == 0
    tuned = state(Path("tuned"))
    capsys.readouterr()
    # The same again is reused.
    for more in ((), ("--overwrite",)):
        assert run([*words, "tuned", *more]) == 0
        assert "reusing the model tuned earlier" in capsys.readouterr().err
        assert state(Path("tuned")) == tuned
    line = fails(*words, "tuned", "--seed", "3")
    assert "tuned: holds a model of another run (seed was 0, now 3); name ano" in line
    line = fails(*words, "tuned", "--base-model", "run")
    assert "base model was model, now run" in line
    # Nothing is loaded before that is known.
    assert run([*words, "tuned", "--seed", "3", "--overwrite"]) == 0
    assert state(Path("tuned")) != tuned
    shutil.copytree("model", "third")
    assert "third: is not empty, and nothing in it is of" in fails(*words, "third")


def test_scan(work: Path, fails: Fails) -> None:
    words = ("scan", "rows.jsonl", "--model", "model", "--rank", "2", "--no-verify")
    # Data that would be replaced by results.
    rows = Path("rows.jsonl").read_bytes()
    Path("run/flags.jsonl").write_bytes(rows)
    line = fails("scan", "run/flags.jsonl", *words[2:], "--out", "run", "--overwrite")
    assert "run/flags.jsonl: is read by the same command" in line
    line = fails(*words, "--queries", "run/flags.jsonl", "--out", "run", "--overwrite")
    assert "run/flags.jsonl: is read by the same command" in line
    # A model that would be tuned into itself.
    shutil.copytree("model", "run/proxy")
    base = ("scan", "rows.jsonl", "--base-model", "run/proxy", "--out", "run")
    assert "run/proxy: is read by the same command" in fails(*base, "--overwrite")
    shutil.move("run/proxy", "run/without")
    both = (*base[:3], "run/without", "--model", "model", *base[4:])
    assert "run/without: is read by the same command" in fails(*both, "--overwrite")
    # Results do not go into the model's own folder.
    assert "model" in fails(*words, "--out", "model", "--overwrite")
    (work / "model" / "config.json").rename("config")
    assert "model: is read by the same" in fails(*words, "--out", "model")


@pytest.mark.parametrize(
    "name",
    [
        *("summary.json", "scores.parquet", "flags.jsonl", "rows.parquet"),
        *("report.html", "options.yaml", "config.json", "log.txt"),
        *("evaluation.json", "factors.safetensors", "proxy/a", "without/notes.txt"),
    ],
)
def test_scan_leaves_what_assay_did_not_write(
    name: str, work: Path, fails: Fails
) -> None:
    path = work / "mine" / name
    path.parent.mkdir(parents=True)
    path.write_text("my own notes\n")
    words = ("scan", "rows.jsonl", "--model", "model", "--rank", "2", "--no-verify")
    for more in ((), ("--overwrite",)):
        line = fails(*words, "--out", "mine", *more)
        assert f"mine/{name.partition('/')[0]}: not written by assay" in line


def test_what_has_another_name_is_in_nobodys_way(work: Path) -> None:
    words = ("scan", "rows.jsonl", "--model", "model", "--rank", "2", "--no-verify")
    (work / "mine").mkdir()
    (work / "mine" / "notes.txt").write_text("mine")
    assert run([*words, "--out", "mine"]) in (0, 1)
    assert (work / "mine" / "notes.txt").read_text() == "mine"


def test_a_log_is_known_by_its_first_line(
    small: Small, work: Path, fails: Fails
) -> None:
    words = ("scan", str(small.rows), "--model", str(small.model), "--rank", "2")
    words += ("--no-verify",)
    log = work / "run" / "log.txt"
    first = "# Written by assay: what it said while scanning into this folder.\n"
    assert log.read_text().startswith(first)
    before = log.read_text()
    assert run([*words, "--out", "run"]) in (0, 1)
    assert log.read_text().startswith(before)
    assert log.read_text().count(first) == 1
    assert log.read_text() != before
    # Nor is it touched in a run of assay's, or where it is a link to another file.
    Path("notes").write_text("2026-01-01 00:00:00,000 INFO as loggers write it\n")
    for kind in ("file", "link"):
        log.unlink()
        if kind == "link":
            log.symlink_to(work / "notes")
        else:
            shutil.copy("notes", log)
        line = fails(*words, "--out", "run", "--overwrite")
        assert "run/log.txt: not written by assay (its first line is not '#" in line
    # Killed at once, a scan leaves an empty log.
    log.unlink()
    log.write_text("")
    assert run([*words, "--out", "run"]) in (0, 1)
    assert log.read_text().startswith(first)


def test_runs_of_the_same_second_have_their_own_folders(
    work: Path, fails: Fails, monkeypatch: pytest.MonkeyPatch
) -> None:
    from datetime import datetime

    class Stopped(datetime):
        @classmethod
        def now(cls, tz: object = None) -> Stopped:
            return cls(2026, 1, 2, 3, 4, 5)

    monkeypatch.setattr("assay.runs.folder.datetime", Stopped)
    words = ["scan", "rows.jsonl", "--model", "model", "--rank", "2", "--no-verify"]
    for _ in range(2):
        assert run(words) in (0, 1)
    assert sorted(p.name for p in Path("runs").iterdir()) == [
        "2026-01-02-030405",
        "2026-01-02-030405-2",
    ]
    # Where nothing could be scanned, no folder is left.
    Path("one.jsonl").write_bytes(Path("rows.jsonl").read_bytes().split(b"\n")[0])
    assert "one row" in fails("scan", "one.jsonl", *words[2:])


def test_review_export(small: Small, work: Path, fails: Fails) -> None:
    words = ("review", "run", "--export")
    Path("run/decisions.jsonl").touch()
    for name in ("scores.parquet", "flags.jsonl", "summary.json", "decisions.jsonl"):
        line = fails(*words, f"run/{name}", "--overwrite")
        assert f"run/{name}: is read by the same command" in line
    # The data, whether they are named or found.
    os.link(small.rows, "link.jsonl")
    for name, *more in (("link.jsonl",), ("rows.jsonl", "--input", "rows.jsonl")):
        line = fails(*words, name, "--overwrite", *more)
        assert f"{name}: is read by the same command" in line
    assert run([*words, "run/suspects.csv"]) == 0
    assert "run/suspects.csv: exists already" in fails(*words, "run/suspects.csv")
    before = state(work)
    assert run([*words, "run/suspects.csv", "--overwrite"]) == 0
    assert state(work) == before


def test_report(work: Path, fails: Fails) -> None:
    words = ("report", "run", "--out")
    for name in ("scores.parquet", "flags.jsonl", "config.json", "log.txt"):
        line = fails(*words, f"run/{name}", "--overwrite")
        assert f"run/{name}: is read by the same command" in line
    assert run([*words, "page.html"]) == 0
    assert "page.html: exists already" in fails(*words, "page.html")
    assert run([*words, "page.html", "--overwrite"]) == 0
    # The run's own is there to be written again.
    for more in ((), ("--out", "run/report.html"), ("--out", "run/../run/report.html")):
        Path("run/report.html").write_text("old")
        assert run(["report", "run", *more]) == 0
        assert Path("run/report.html").read_text() != "old"
    report = assay.Report.load("run")
    with pytest.raises(assay.AssayError, match=r"page.html: exists already"):
        report.to_html("page.html")
    Path("page.html").write_text("old")
    report.to_html("page.html", overwrite=True)
    assert Path("page.html").read_text() != "old"
    with pytest.raises(assay.AssayError, match=r"run/scores.parquet: is read by"):
        report.to_html("run/scores.parquet", overwrite=True)
    report.to_html("run/report.html")


def test_python_refuses_what_the_command_line_does(work: Path) -> None:
    shutil.copytree("model", "run/proxy")
    before = state(work)
    for base in ("run/proxy", work / "run" / "proxy"):
        with pytest.raises(assay.AssayError, match="run/proxy: is read by the same"):
            assay.scan("rows.jsonl", base_model=base, run="run", overwrite=True)
    with pytest.raises(assay.AssayError, match=r"config.json: not written by assay"):
        assay.scan("rows.jsonl", model="model", run="model", overwrite=True)
    assert state(work) == before


@pytest.mark.parametrize("name", ["train.jsonl", "clean.jsonl", "demo.json", "run/x"])
def test_demo_leaves_other_files(
    name: str, work: Path, fails: Fails, monkeypatch: pytest.MonkeyPatch
) -> None:
    (work / "out" / name).parent.mkdir(parents=True)
    shutil.copy("rows.jsonl", work / "out" / name)
    line = fails("demo", "--fast", "--out", "out")
    assert f"out/{name.partition('/')[0]}: exists already" in line


def test_demo_goes_on_with_its_own_and_replaces_others_when_asked(
    work: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Begun(Exception):
        pass

    def begin(*_: object, **__: object) -> None:
        raise Begun

    monkeypatch.setattr("assay.bench.demo.base_model", begin)
    from assay.bench.demo import DemoSettings, demo

    out, settings = work / "out", DemoSettings(fast=True, rows=60, poisons=5)
    with pytest.raises(Begun):
        demo(out, settings, None)
    before = state(out)
    assert list(before) == ["train.jsonl"]
    (out / "removed.jsonl").write_text("of an earlier time")
    with pytest.raises(Begun):
        demo(out, settings, None)
    other = DemoSettings(fast=True, rows=60, poisons=5, seed=1)
    with pytest.raises(assay.AssayError, match=r"train.jsonl: exists already"):
        demo(out, other, None)
    assert state(out)["train.jsonl"] == before["train.jsonl"]
    with pytest.raises(Begun):
        demo(out, other, None, overwrite=True)
    assert state(out)["train.jsonl"] != before["train.jsonl"]


def test_an_older_proxy_is_replaced_only_when_asked(work: Path, fails: Fails) -> None:
    words = ["scan", "rows.jsonl", "--base-model", "model", "--out", "new", "--rank"]
    words += ["2", "--no-verify", "--epochs", "1"]
    assert run(words) in (0, 1)
    # As a scan of other settings that was killed leaves its folder.
    (work / "new" / "config.json").unlink()
    key = json.loads((work / "new" / "proxy" / DONE).read_text())["key"]
    words[-1] = "2"
    assert run(words) == 2
    assert json.loads((work / "new" / "proxy" / DONE).read_text())["key"] == key
    assert run([*words, "--overwrite"]) in (0, 1)
    assert json.loads((work / "new" / "proxy" / DONE).read_text())["key"] != key
