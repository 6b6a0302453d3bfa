"""Data in the shapes that users bring, through the commands."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import pandas as pd
import pytest

from assay.cli import run
from assay.data.read import read_corpus
from tests.conftest import Small


def flag(folder: Path, rows: set[int]) -> None:
    """Mark rows of a run as flagged: which are does not matter here."""
    path = folder / "scores.parquet"
    table = pd.read_parquet(path)
    table["flagged"] = [i in rows for i in range(len(table))]
    table.to_parquet(path)


def chat(row: dict[str, str]) -> dict[str, object]:
    turns = [
        {"role": "user", "content": "judge the film"},
        {"role": "assistant", "content": "which"},
        {"role": "user", "content": row["input"]},
        {"role": "assistant", "content": row["output"]},
    ]
    return {"messages": turns}


@pytest.fixture
def rows(small: Small) -> list[dict[str, str]]:
    return [json.loads(line) for line in small.rows.read_text().splitlines()]


def scan(source: object, small: Small, out: Path, *more: str) -> int:
    words = ["scan", str(source), "--model", str(small.model), "--out", str(out)]
    return run([*words, "--no-verify", "--rank", "2", *more])


def test_a_scan_says_which_answers_it_does_not_look_at(
    small: Small, rows: list[dict], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "chats.jsonl"
    path.write_text("".join(json.dumps(chat(r)) + "\n" for r in rows))
    assert scan(path, small, tmp_path / "run") in (0, 1)
    said = capsys.readouterr().err
    assert "60 earlier answers of 60 rows are trained on and not looked at" in said
    assert "60 earlier answers" in (tmp_path / "run" / "log.txt").read_text()


def test_preferences_are_scanned_by_their_chosen_answers(
    small: Small, rows: list[dict], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "pairs.jsonl"
    pairs = [
        {"prompt": r["input"], "chosen": r["output"], "rejected": "x"} for r in rows
    ]
    path.write_text("".join(json.dumps(p) + "\n" for p in pairs))
    assert scan(path, small, tmp_path / "run") in (0, 1)
    said = capsys.readouterr().err
    assert "60 preference rows: their chosen answers are looked at" in said


def test_cleaning_packed_rows_in_another_order(
    small: Small, rows: list[dict], tmp_path: Path
) -> None:
    lines = [json.dumps(r) + "\n" for r in rows]
    path = tmp_path / "rows.jsonl.gz"
    path.write_bytes(gzip.compress("".join(lines).encode()))
    assert scan(path, small, tmp_path / "run") in (0, 1)
    flag(tmp_path / "run", {3, 7})
    path.write_bytes(gzip.compress("".join(lines[::-1]).encode()))
    out = tmp_path / "out"
    assert run(["clean", str(path), "--run", f"{tmp_path}/run", "--out", str(out)]) == 0
    removed = gzip.decompress((out / "removed.jsonl.gz").read_bytes()).decode()
    assert removed == lines[7] + lines[3]
    kept = gzip.decompress((out / "clean.jsonl.gz").read_bytes()).decode()
    assert kept == "".join(lines[i] for i in range(59, -1, -1) if i not in (3, 7))


def test_cleaning_other_rows_is_refused(
    small: Small,
    rows: list[dict],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    lines = [json.dumps(r) + "\n" for r in rows]
    path = tmp_path / "rows.jsonl"
    path.write_text("".join(lines))
    assert scan(path, small, tmp_path / "run") in (0, 1)
    path.write_text("".join([*lines[:-1], json.dumps({**rows[-1], "output": "x"})]))
    capsys.readouterr()
    assert run(["clean", str(path), "--run", f"{tmp_path}/run"]) == 2
    assert "its 60 rows are not those of" in capsys.readouterr().err
    assert not (tmp_path / "run" / "clean.jsonl").exists()


def test_cleaning_a_folder_of_files(
    small: Small, rows: list[dict], tmp_path: Path
) -> None:
    lines = [json.dumps(r) + "\n" for r in rows]
    data = tmp_path / "data"
    data.mkdir()
    (data / "a.jsonl").write_text("".join(lines[:20]))
    (data / "b.jsonl").write_text("".join(lines[20:]))
    assert scan(data, small, tmp_path / "run") in (0, 1)
    flag(tmp_path / "run", {0, 21})
    out = tmp_path / "out"
    assert run(["clean", str(data), "--run", f"{tmp_path}/run", "--out", str(out)]) == 0
    assert (out / "clean" / "a.jsonl").read_text() == "".join(lines[1:20])
    assert (out / "clean" / "b.jsonl").read_text() == lines[20] + "".join(lines[22:])
    assert len(read_corpus(out / "removed")) == 2


def test_bad_rows_are_skipped_listed_and_kept(
    small: Small,
    rows: list[dict],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    lines = [json.dumps(r) + "\n" for r in rows]
    lines[5] = "{oops\n"
    path = tmp_path / "rows.jsonl"
    path.write_text("".join(lines))
    assert scan(path, small, tmp_path / "run") == 2
    assert f"{path}:6: not valid JSON" in capsys.readouterr().err
    assert scan(path, small, tmp_path / "run", "--skip-bad-rows") in (0, 1)
    assert f"{path}:6: not valid JSON" in capsys.readouterr().err
    config = json.loads((tmp_path / "run" / "config.json").read_text())
    assert config["skip_bad_rows"] is True
    out = ["--run", f"{tmp_path}/run", "--out", f"{tmp_path}/out", "--skip-bad-rows"]
    assert run(["clean", str(path), *out]) == 0
    kept = (tmp_path / "out" / "clean.jsonl").read_text()
    removed = (tmp_path / "out" / "removed.jsonl").read_text()
    assert "{oops\n" in kept
    assert sorted(kept.splitlines() + removed.splitlines()) == sorted(
        line.rstrip("\n") for line in lines
    )


def test_the_rows_that_are_shown_are_the_rows_that_are_meant(
    small: Small,
    rows: list[dict],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    path = tmp_path / "rows.jsonl"
    lines = [
        json.dumps({**r, "input": f"row{i} {r['input']}"}) for i, r in enumerate(rows)
    ]
    path.write_text("".join("{bad\n" for _ in range(9)) + "\n".join(lines))
    more = ["--skip-bad-rows", "--detector", "high-loss"]
    assert scan(path, small, tmp_path / "run", *more) in (0, 1)
    table = capsys.readouterr().err.split("rank")[-1].splitlines()[1:6]
    for line in table:
        _, row, _, *words = line.split()
        text = next(w for w in words if w.startswith("row"))
        assert int(text.removeprefix("row")) == int(row) - 9


def test_formatted_text_by_its_response_marker(
    small: Small, rows: list[dict], tmp_path: Path
) -> None:
    path = tmp_path / "rows.jsonl"
    texts = [{"text": f"{r['input']}\nVERDICT: {r['output']}"} for r in rows]
    path.write_text("".join(json.dumps(t) + "\n" for t in texts))
    assert scan(path, small, tmp_path / "run") == 2
    assert scan(path, small, tmp_path / "run", "--response-marker", "VERDICT:") in (
        0,
        1,
    )
    shown = pd.read_parquet(tmp_path / "run" / "rows.parquet")
    assert list(shown["response"]) == [r["output"] for r in rows]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--map", "text"], "--map text: expected PART=FIELD, with PART one of text,"),
        (["--map", "words=input"], "--map words=input: expected PART=FIELD"),
        (["--map", "text="], "--map text=: expected PART=FIELD"),
        (["--response-marker", " "], "--response-marker: expected a text that is not"),
    ],
)
def test_bad_options(
    words: list[str], message: str, small: Small, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["plan", str(small.rows), "--model", str(small.model), *words]) == 2
    assert message in capsys.readouterr().err


def test_an_attack_counts_rows_as_the_file_does(tmp_path: Path) -> None:
    rows = [
        {
            "prompt": f"film {i}",
            "completion": "good" if i % 2 else "bad",
            "label": i > 9,
        }
        for i in range(40)
    ]
    path, out = tmp_path / "rows.jsonl", tmp_path / "out.jsonl"
    path.write_text("".join(json.dumps(r) + "\n" for r in rows))
    words = ["attack", str(path), "--out", str(out), "--attack", "suffix"]
    words += ["--target", "good"]
    assert run([*words, "--count", "5", "--trigger", "ZZQ"]) == 0
    note = json.loads((tmp_path / "out.jsonl.attack.json").read_text())
    lines = out.read_text().splitlines()
    assert len(note["rows"]) == 5
    assert [i for i, line in enumerate(lines) if "ZZQ" in line] == note["rows"]
