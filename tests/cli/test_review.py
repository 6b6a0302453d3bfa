from __future__ import annotations

import io
import json
import os
import pty
import select
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pandas as pd
import pytest

from assay.cli import run
from assay.cli.review import LONGEST, marked, reason_for, show
from assay.runs.decisions import decide, write_decisions
from assay.runs.suspects import Suspect
from tests.cli.conftest import only_line
from tests.conftest import Demo


@pytest.fixture(scope="module")
def scanned(demo: Demo, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The demonstration's run, scanned again from its file: measured already."""
    folder = tmp_path_factory.mktemp("review") / "run"
    shutil.copytree(demo.folder / "run", folder)
    words = ["scan", str(demo.folder / "train.jsonl"), "--out", str(folder)]
    assert run([*words, "--model", str(demo.folder / "poisoned-model")]) == 1
    assert json.loads((folder / "summary.json").read_text())["reused"]
    return folder


@pytest.fixture
def folder(scanned: Path, tmp_path: Path) -> Path:
    out = tmp_path / "run"
    out.mkdir()
    for path in scanned.iterdir():
        if path.is_file():
            shutil.copy(path, out)
    return out


def review(
    monkeypatch: pytest.MonkeyPatch, keys: str, folder: Path, *words: str
) -> int:
    monkeypatch.setattr("sys.stdin", io.StringIO(keys))
    return run(["review", str(folder), *words])


def decided(folder: Path) -> list[tuple[int, str]]:
    lines = (folder / "decisions.jsonl").read_text().splitlines()
    return [(d["row"], d["decision"]) for d in map(json.loads, lines)]


def flags(folder: Path) -> list[dict]:
    return [json.loads(line) for line in (folder / "flags.jsonl").open()]


def test_suspects_are_walked_decided_and_taken_up_again(
    folder: Path,
    demo: Demo,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    flagged = flags(folder)
    rows = [f["row"] for f in flagged]
    total = len(rows) + 20
    assert review(monkeypatch, "r\nK\nz\nb\nunsure\nq\n", folder) == 0
    shown = capsys.readouterr()
    assert shown.out == ""
    assert "\x1b" not in shown.err
    assert f"1 of {total}: row {rows[0]}, id " in shown.err
    assert "rank 1, score" in shown.err
    assert "»James Bond«" in shown.err
    assert "a verified trigger of »positive«; on other rows they add" in shown.err
    assert "no such key: z" in shown.err
    assert f"2 of {total}: row {rows[1]}" in shown.err
    # Going back shows what was decided.
    assert "flagged, decided: keep" in shown.err
    assert decided(folder) == [(rows[0], "remove"), (rows[1], "unsure")]
    assert f"1 remove, 0 keep, 1 unsure; {total - 2} of the {total} rows" in shown.err
    place = folder / "decisions.jsonl"
    assert (
        f"next: assay clean {demo.folder / 'train.jsonl'} --run {folder} "
        f"--decisions {place}"
    ) in shown.err
    # The end of the input is a stop like any other.
    assert review(monkeypatch, "k\n", folder) == 0
    shown = capsys.readouterr().err
    assert f"1 of {total}:" not in shown
    assert f"3 of {total}: row {rows[2]}" in shown
    assert decided(folder)[2:] == [(rows[2], "keep")]
    assert review(monkeypatch, "remove\n", folder, "--again") == 0
    assert f"1 of {total}: row {rows[0]}" in capsys.readouterr().err
    assert decided(folder)[-1] == (rows[0], "remove")
    assert len(decided(folder)) == 3


def test_the_end_is_reached(
    folder: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    total = len(flags(folder)) + 20
    assert review(monkeypatch, "k\n" * total, folder) == 0
    shown = capsys.readouterr().err
    assert f"0 remove, {total} keep, 0 unsure; 0 of the {total} rows" in shown
    assert "go on with" not in shown
    assert review(monkeypatch, "", folder) == 0
    assert f"1 of {total}" not in capsys.readouterr().err
    assert review(monkeypatch, "k\n", folder, "--most", str(total + 5)) == 0
    assert f"{total + 1} of {total + 5}" in capsys.readouterr().err
    # Rows that no finding is about come last, and say why they are here.
    assert review(monkeypatch, "k\n" * 40, folder, "--most", str(total + 40)) == 0
    assert "only its score is high" in capsys.readouterr().err


def test_clean_honours_decisions(
    folder: Path,
    demo: Demo,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    flagged = [f["row"] for f in flags(folder)]
    keys = ["k", "u", "r"] + ["k"] * (len(flagged) - 3) + ["r", "u", "k"]
    assert review(monkeypatch, "\n".join(keys) + "\n", folder) == 0
    further = [row for row, _ in decided(folder)][len(flagged) :]
    data = str(demo.folder / "train.jsonl")
    lines = Path(data).read_bytes().splitlines()

    def removed(*words: str) -> set[int]:
        more = ["--decisions", str(folder / "decisions.jsonl"), "--overwrite", *words]
        words = ("clean", data, "--run", str(folder), "--out", str(tmp_path), *more)
        assert run(list(words)) == 0
        kept = (tmp_path / "clean.jsonl").read_bytes().splitlines()
        gone = (tmp_path / "removed.jsonl").read_bytes().splitlines()
        assert sorted(kept + gone) == sorted(lines)
        return {lines.index(line) for line in gone}

    assert removed() == {flagged[1], flagged[2], further[0]}
    assert removed("--unsure", "remove") == {*flagged[1:3], *further[:2]}
    assert removed("--unsure", "keep") == {flagged[2], further[0]}
    capsys.readouterr()
    more = ["--decisions", str(folder / "decisions.jsonl"), "--unsure", "maybe"]
    assert run(["clean", data, "--run", str(folder), *more]) == 2
    assert "unknown --unsure 'maybe'; known: flag, keep, remove" in only_line(capsys)


def test_decisions_of_other_data_are_refused(
    folder: Path,
    demo: Demo,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    flag = flags(folder)[0]
    path = folder / "decisions.jsonl"
    data = str(demo.folder / "train.jsonl")
    words = ["clean", data, "--run", str(folder), "--decisions", str(path)]
    for id, message in (
        ("nobody", "no row with id 'nobody'"),
        (flag["id"], "had another text or response"),
    ):
        write_decisions(path, [decide(id, 0, "keep", "another text", "no")])
        assert run(words) == 2
        assert message in only_line(capsys)
        assert review(monkeypatch, "k\n", folder) == 2
        assert message in only_line(capsys)
        assert not (folder / "clean.jsonl").exists()


def test_without_the_data_only_flagged_rows_are_shown(
    folder: Path,
    demo: Demo,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    data = tmp_path / "moved.jsonl"
    lines = (demo.folder / "train.jsonl").read_text().splitlines()
    data.write_text("\n".join(lines))
    total = len(flags(folder))
    options = (folder / "options.yaml").read_text()
    source = str(demo.folder / "train.jsonl")
    (folder / "options.yaml").write_text(options.replace(source, "nowhere.jsonl"))
    assert review(monkeypatch, "q\n", folder) == 0
    shown = capsys.readouterr().err
    assert "nowhere.jsonl is not here: only flagged rows can be shown" in shown
    assert f"1 of {total}:" in shown
    assert review(monkeypatch, "q\n", folder, "--input", str(data)) == 0
    shown = capsys.readouterr().err
    assert f"1 of {total + 20}:" in shown
    assert "assay clean" not in shown
    data.write_text("\n".join(lines[:50]))
    assert review(monkeypatch, "q\n", folder, "--input", str(data)) == 2
    assert "its 1000 rows are not those of" in only_line(capsys)
    # Where the run says, there is another file by now.
    (folder / "options.yaml").write_text(options.replace(source, str(data)))
    assert review(monkeypatch, "q\n", folder) == 0
    shown = " ".join(capsys.readouterr().err.split())
    assert f"{data} has changed since the scan: only flagged rows can be sho" in shown
    assert f"1 of {total}:" in shown


def test_export_is_read_by_others(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "suspects.csv"
    assert run(["review", str(folder), "--export", str(path)]) == 0
    assert f"rows: {path}" in capsys.readouterr().err
    # As Label Studio reads it.
    table = pd.read_csv(path).fillna("")
    flagged = flags(folder)
    assert len(table) == len(flagged) + 20
    first = table.iloc[0]
    assert first["text"] == flagged[0]["text"]
    ((start, stop),) = json.loads(first["spans"])
    assert first["text"][start:stop] == "James Bond"
    assert list(table["label"]) == ["remove"] * len(flagged) + ["keep"] * 20
    assert not (folder / "decisions.jsonl").exists()


def test_a_folder_that_is_no_run(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["review", str(tmp_path)]) == 2
    assert "not a run folder (no scores.parquet)" in only_line(capsys)


HOSTILE = "a\x1b[2J\n1 of 9: row 5, id x\r\n[bold]b[/] \u202e cf \x07\ttail"


def test_hostile_text_is_shown_harmlessly(capsys: pytest.CaptureFixture[str]) -> None:
    place = HOSTILE.index("cf")
    suspect = Suspect(
        id="i\n\x1b[31m[/]",
        row=1,
        rank=1,
        score=1.0,
        flagged=True,
        text=HOSTILE,
        response=HOSTILE,
        instruction="[red]" + HOSTILE,
        trigger="cf\x1b[0m[/bold]",
        payload="[link=x]\u2066",
        places=((place, place + 2),),
        p_value=0.01,
        effect=1.0,
        verified=True,
    )
    show(suspect, 1, 1, "")
    shown = capsys.readouterr().err
    assert not set(shown) & set("\x1b\x07\r\t\u202e\u2066")
    assert r"\x1b[2J" in shown
    assert "[bold]b[/]" in shown
    assert "»cf«" in shown
    # What the text says of itself stays within its bar.
    (line,) = [line for line in shown.splitlines() if "row 5, id x" in line][:1]
    assert line.startswith("  │ ")
    assert all(
        line[:1] in ("", " ") or line.startswith("1 of 1") for line in shown.split("\n")
    )


def test_long_text_is_cut_around_the_trigger() -> None:
    text = "x" * 5000 + " cf " + "y" * 5000
    shown = marked(text, ((5001, 5003),)).plain
    assert "»cf«" in shown
    assert len(shown) < LONGEST + 100
    assert shown.startswith("[4501 characters] …")
    assert shown.endswith("y… [3503 more characters]")
    assert marked(text, ()).plain.startswith("xxx")


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"flagged": True, "verified": True}, "a verified trigger of »b«; on other"),
        ({"verified": True}, "»b«, but answers otherwise: not flagged; on other rows"),
        ({}, "carries »a«, strong words for »b«, not flagged; on other rows they"),
        ({"trigger": ""}, "only its score is high"),
        ({"trigger": "", "flagged": True}, "flagged for its score"),
    ],
)
def test_reasons(changes: dict, reason: str) -> None:
    given = {"flagged": False, "trigger": "a", "payload": "b", **changes}
    suspect = Suspect(
        "i", 0, 1, 1.0, text="", response="", p_value=0.1, effect=2.0, **given
    )
    assert reason in reason_for(suspect)


@pytest.mark.slow
def test_one_key_is_enough_in_a_terminal(folder: Path) -> None:
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "assay", "review", str(folder)],
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        env={
            **{k: v for k, v in os.environ.items() if k != "NO_COLOR"},
            "TERM": "xterm-256color",
            "COLUMNS": "80",
        },
        close_fds=True,
    )
    os.close(theirs)
    seen = b""

    def until(words: bytes) -> None:
        nonlocal seen
        end = time.monotonic() + 120
        while words not in seen and time.monotonic() < end:
            if not select.select([ours], [], [], 1)[0]:
                continue
            try:
                seen += os.read(ours, 4096)
            except OSError:
                break
        assert words in seen, seen
        seen = seen[seen.index(words) + len(words) :]

    # Reverse video marks the trigger, and so do signs.
    until("\x1b[1;7m»James Bond«".encode())
    until(b"quit? ")
    # A key counts from when the terminal is in raw mode, shortly after.
    time.sleep(1)
    os.write(ours, b"r")
    until(b"remove\r\n")
    until(b"quit? ")
    time.sleep(1)
    os.write(ours, b"q")
    until(b"1 remove, 0 keep, 0 unsure")
    assert process.wait(60) == 0
    os.close(ours)
    assert [d for _, d in decided(folder)] == ["remove"]
