from __future__ import annotations

import json
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from rich.cells import cell_len

from assay.cli import run
from tests.cli.conftest import attach_terminal, module
from tests.conftest import Demo, Small

CODES = re.compile(r"\x1b\[[0-9;?]*[a-zA-Z]")


@pytest.fixture
def words(demo: Demo, tmp_path: Path) -> list[str]:
    """Words of a scan whose measurements are there already."""
    out = tmp_path / "run"
    shutil.copytree(demo.folder / "run", out)
    data, model = demo.folder / "train.jsonl", demo.folder / "poisoned-model"
    return ["scan", str(data), "--model", str(model), "--out", str(out)]


@pytest.fixture
def fresh_console(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    for name in ("NO_COLOR", "FORCE_COLOR"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("TERM", "xterm-256color")
    module._shared_console.cache_clear()
    yield
    module._shared_console.cache_clear()


@pytest.mark.parametrize("width", [80, 200])
def test_the_summary_fits_a_screen(
    width: int,
    words: list[str],
    demo: Demo,
    tmp_path: Path,
    fresh_console: None,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("COLUMNS", str(width))
    terminal = attach_terminal(monkeypatch)
    assert run(words) == 1
    shown = terminal.getvalue()
    assert "\x1b[1;31mpoisoned" in shown
    lines = CODES.sub("", shown[shown.index("\x1b[1;31mpoisoned") :]).splitlines()
    # Commands are not broken, so that they can be copied; the terminal breaks them.
    commands = [line for line in lines if "assay clean" in line or "review" in line]
    assert len(commands) == 2
    # The folders of tests have longer names than people give.
    folders = (str(demo.folder), str(tmp_path))
    short = ["x".join(re.split("|".join(folders), line)) for line in lines]
    height = sum(max(1, -(-cell_len(line) // width)) for line in short)
    assert height < 24
    assert all(cell_len(x) <= width for x in lines if x not in commands)
    text = " ".join(lines)
    for part in (
        "33 rows with James Bond answer positive: verified trigger",
        "taken out of its own rows it costs",
        "p = 0.0",
        "run folder: ",
    ):
        assert part in text, part
    added = re.search(r"put on other rows it adds (\d+\.\d) nats", text)
    assert added is not None
    # The tiny model's odds; how it was tuned moves the second digit.
    assert 6 <= float(added[1]) < 7.5


def test_a_pipe_gets_neither_colour_nor_control_codes(
    words: list[str],
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    assert run([*words, "--json"]) == 1
    captured = capsys.readouterr()
    assert run(words) == 1
    shown = captured.out + captured.err + capsys.readouterr().err
    assert "verified trigger" in shown
    assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f]", shown)


def test_quiet_leaves_the_exit_status_errors_and_what_stdout_was_asked_for(
    words: list[str],
    small: Small,
    demo: Demo,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert run([*words, "--quiet"]) == 1
    assert capsys.readouterr() == ("", "")
    assert run([*words, "-q", "--json"]) == 1
    captured = capsys.readouterr()
    assert captured.err == ""
    assert json.loads(captured.out)["verdict"] == "poisoned"
    # Errors are told, and quiet ends with its command.
    assert run(["scan", "nowhere.jsonl", "--model", "m", "--quiet"]) == 2
    captured = capsys.readouterr()
    assert (
        captured.err
        == "assay: error: data set 'nowhere.jsonl': no such file or folder\n"
    )
    assert run(["plan", str(small.rows), "--model", str(small.model), "-q"]) == 0
    out = str(tmp_path / "bad.jsonl")
    assert run(["attack", str(small.rows), "--out", out, "--quiet"]) == 0
    assert run(["clean", words[1], "--run", words[-1], "--quiet"]) == 0
    assert capsys.readouterr() == ("", "")
    assert run(["attack", str(small.rows), "--out", out, "--overwrite"]) == 0
    assert "of 60 rows" in capsys.readouterr().err
    few = tmp_path / "few.jsonl"
    few.write_text("".join(small.rows.open().readlines()[:4]))
    words = ["evaluate", str(few), "--model", str(small.model), "--quiet"]
    assert run([*words, "--labels", "negative,positive"]) == 0
    captured = capsys.readouterr()
    assert captured.err == ""
    assert "accuracy" in captured.out
