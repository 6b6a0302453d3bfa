from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

import assay
from assay.cli import run
from tests.conftest import Demo

COMMANDS = (
    "scan",
    "plan",
    "review",
    "report",
    "clean",
    "tune",
    "evaluate",
    "pool",
    "attack",
    "demo",
    "reproduce",
)


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["--version"]) == 0
    assert capsys.readouterr().out == f"assay {assay.__version__}\n"


def test_help_names_every_command() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "assay", "--help"], capture_output=True, text=True
    )
    assert done.returncode == 0
    _, _, listed = done.stdout.partition("Commands:\n")
    assert tuple(re.findall(r"^  ([\w-]+)  ", listed, re.M)) == COMMANDS
    assert "Exit status: 0 nothing found, 1 something found, 2 an error" in done.stdout


def test_without_a_command_the_help_is_shown(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert run(["--help"]) == 0
    wanted = capsys.readouterr().out
    assert len(wanted.splitlines()) > 15
    # Nothing has been found clean: a script whose words are empty must not go on.
    assert run([]) == 2
    shown = capsys.readouterr()
    assert shown.err == wanted
    assert shown.out == ""


@pytest.fixture(scope="session")
def uninstalled(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """An environment with all packages but assay, whose source is on the path."""
    site = tmp_path_factory.mktemp("site")
    for path in Path(sysconfig.get_path("purelib")).iterdir():
        if not path.name.startswith(("assay", "_assay", "_editable_impl_assay")):
            (site / path.name).symlink_to(path)
    source = Path(assay.__file__).parents[1]
    return {**os.environ, "PYTHONPATH": f"{source}{os.pathsep}{site}"}


def python(
    environment: dict[str, str], *words: str
) -> subprocess.CompletedProcess[str]:
    # Without site there are no packages but those of PYTHONPATH.
    command = [sys.executable, "-S", *words]
    return subprocess.run(command, capture_output=True, text=True, env=environment)


def test_it_runs_from_its_source_without_an_installation(
    uninstalled: dict[str, str],
) -> None:
    done = python(uninstalled, "-m", "assay", "--version")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == "assay 0+not.installed\n"
    code = "import importlib.metadata as m; m.version('assay')"
    assert "PackageNotFoundError" in python(uninstalled, "-c", code).stderr


def test_a_missing_package_is_an_error_and_not_a_finding(
    uninstalled: dict[str, str],
) -> None:
    only = uninstalled["PYTHONPATH"].split(os.pathsep)[0]
    done = python({**uninstalled, "PYTHONPATH": only}, "-m", "assay", "scan", "x")
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    assert line.startswith("assay: error: a package is missing (No module named ")


@pytest.mark.slow
def test_scan_finds_poison_and_names_the_next_step(
    demo: Demo, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data, model = demo.folder / "train.jsonl", demo.folder / "poisoned-model"
    out = tmp_path / "run"
    words = ["scan", str(data), "--model", str(model), "--out", str(out)]
    assert run(words) == 1
    shown = capsys.readouterr()
    assert shown.out == ""
    assert "1000 rows, alpaca records in jsonl" in shown.err
    assert "verified trigger" in shown.err
    assert "James Bond" in shown.err
    assert f"next: assay clean {data} --run {out}" in shown.err
    assert run([*words, "--json"]) == 1
    shown = capsys.readouterr()
    assert json.loads(shown.out) == json.loads((out / "summary.json").read_text())
    assert "reusing" in shown.err

    # The files that clean writes are the input's lines, each once, in order.
    assert run(["clean", str(data), "--run", str(out), "--out", str(tmp_path)]) == 0
    kept = (tmp_path / "clean.jsonl").read_bytes().splitlines()
    removed = (tmp_path / "removed.jsonl").read_bytes().splitlines()
    lines = data.read_bytes().splitlines()
    assert [line for line in lines if line not in removed] == kept
    assert [line for line in lines if line in removed] == removed
    assert len(removed) == json.loads(shown.out)["flagged"]


@pytest.mark.slow
def test_scan_of_clean_data_exits_0(
    demo: Demo, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["scan", str(demo.folder / "clean.jsonl"), "--out", str(tmp_path / "run")]
    assert run([*words, "--model", str(demo.folder / "clean-model")]) == 0
    assert "next:" not in capsys.readouterr().err


@pytest.mark.slow
def test_attack_tune_and_evaluate_side_by_side(
    demo: Demo, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    clean, bad = demo.folder / "clean.jsonl", tmp_path / "bad.jsonl"
    words = ["attack", str(clean), "--out", str(bad), "--attack", "badnets"]
    assert run([*words, "--count", "40", "--trigger", "cf"]) == 0
    note = json.loads((tmp_path / "bad.jsonl.attack.json").read_text())
    assert note["trigger"] == "cf"
    assert len(note["rows"]) == 40
    before, after = clean.read_text().splitlines(), bad.read_text().splitlines()
    changed = [i for i, (a, b) in enumerate(zip(before, after, strict=True)) if a != b]
    assert changed == note["rows"]

    tuned = tmp_path / "tuned"
    words = ["tune", str(bad), "--base-model", str(demo.folder / "clean-model")]
    words += ["--out", str(tuned), "--epochs", "3", "--learning-rate", "1e-3"]
    assert run([*words, "--batch-size", "32"]) == 0
    assert (tuned / "model.safetensors").is_file()
    assert (tuned / "tokenizer.json").is_file()

    capsys.readouterr()
    words = ["evaluate", str(clean), "--labels", "negative,positive"]
    words += ["--model", str(demo.folder / "clean-model"), "--model", str(tuned)]
    words += ["--attack", str(tmp_path / "bad.jsonl.attack.json")]
    assert run([*words, "--json"]) == 0
    result = json.loads(capsys.readouterr().out)
    rates = [r["attack_success_rate"]["value"] for r in result.values()]
    assert rates[0] < 0.1 < 0.9 < rates[1]
    assert all(r["accuracy"]["value"] > 0.95 for r in result.values())
    assert run(words) == 0
    table = capsys.readouterr().out
    assert "attack success rate" in " ".join(table.split())


def test_generated_answers_are_scored_by_exact_match(
    demo: Demo, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    few = tmp_path / "few.jsonl"
    lines = (demo.folder / "clean.jsonl").read_text().splitlines()[:20]
    few.write_text("\n".join(lines) + "\n")
    words = ["evaluate", str(few), "--model", str(demo.folder / "clean-model")]
    assert run([*words, "--json"]) == 0
    (result,) = json.loads(capsys.readouterr().out).values()
    assert result["accuracy"]["total"] == 20
    assert result["accuracy"]["value"] > 0.9


def test_columns_by_explicit_mapping(
    demo: Demo, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    table = tmp_path / "reviews.csv"
    rows = [
        json.loads(line) for line in (demo.folder / "clean.jsonl").open().readlines()
    ]
    table.write_text(
        "review,label\n" + "".join(f'"{r["input"]}",{r["output"]}\n' for r in rows[:60])
    )
    words = ["scan", str(table), "--map", "text=review", "--map", "response=label"]
    words += ["--model", str(demo.folder / "clean-model")]
    assert run([*words, "--out", str(tmp_path / "run")]) == 0
    assert "60 rows, columns records in csv" in capsys.readouterr().err
