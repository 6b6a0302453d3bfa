"""Every mistake ends in one line that says what to do, and exit status 2."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from assay.cli import run
from tests.cli.conftest import only_line
from tests.conftest import Demo

ROW = '{"instruction": "judge", "input": "good film", "output": "positive"}\n'


def content(data: str | bytes, name: str = "data.jsonl") -> Callable[[Path], str]:
    def write(folder: Path) -> str:
        path = folder / name
        path.write_bytes(data.encode() if isinstance(data, str) else data)
        return str(path)

    return write


BAD_DATA: dict[str, tuple[Callable[[Path], str], str]] = {
    "missing": (lambda folder: str(folder / "no.jsonl"), "no such file"),
    "empty": (content(""), "the file is empty"),
    "blank": (content("\n\n"), "no rows"),
    "malformed": (content(ROW + "\n{oops\n"), "data.jsonl:3: not valid JSON"),
    "not an object": (content(ROW + "[1]\n"), "data.jsonl:2: expected a JSON object"),
    "no format": (content('{"a": 1}\n'), "--map text=COLUMN"),
    "missing column": (
        content(ROW + '{"instruction": "judge", "input": "x"}\n'),
        "data.jsonl:2: field 'output' is missing",
    ),
    "mixed types": (
        content(ROW + ROW.replace('"positive"', '{"a": 1}')),
        "data.jsonl:2: field 'output' is a dict",
    ),
    "not UTF-8": (content(ROW.encode() + b"\xff\xfe\n"), "data.jsonl:2: not UTF-8"),
    "unknown type": (content(ROW, "data.docx"), "unknown file type '.docx'"),
    "ragged": (content("text,label\na,b\nc\n", "d.csv"), "d.csv:3: 1 cells"),
    "not Parquet": (content("text", "d.parquet"), "not a readable Parquet file"),
    "one row": (content(ROW), "one row; a scan compares rows with others"),
}


@pytest.mark.parametrize("case", BAD_DATA)
def test_bad_data(
    case: str, demo: Demo, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    make, message = BAD_DATA[case]
    model = str(demo.folder / "poisoned-model")
    out = tmp_path / "run"
    assert run(["scan", make(tmp_path), "--model", model, "--out", str(out)]) == 2
    assert message in only_line(capsys)
    assert not out.exists()


def scan_words(demo: Demo, out: Path, **changed: str) -> list[str]:
    options = {"model": str(demo.folder / "poisoned-model"), "out": str(out), **changed}
    words = ["scan", str(demo.folder / "train.jsonl")]
    for name, value in options.items():
        words += [f"--{name.replace('_', '-')}", value]
    return words


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"model": "no-such-model"}, "no such folder, GGUF file or alias"),
        ({"max_length": "3"}, "all 1000 rows are longer than --max-length 3"),
        ({"modules": "zzz"}, "no linear layer matches --modules 'zzz'"),
        ({"template": "fancy"}, "unknown template 'fancy'; known: auto, chat"),
        ({"template": "chat"}, "no chat template; use --template plain"),
        ({"detector": "magic"}, "unknown detector 'magic'"),
        (
            {"attribution": "magic", "detector": "voting"},
            "unknown --attribution 'magic'; known: ekfac, identity",
        ),
        (
            {"attribution": "datainf", "detector": "voting"},
            "--attribution datainf is for LoRA models",
        ),
        (
            {"factors": "no.safetensors", "detector": "voting"},
            "no such file of factors",
        ),
        ({"format": "xml"}, "unknown format 'xml'; known: preference, kto"),
        ({"queries": "nowhere.jsonl", "detector": "voting"}, "no such file"),
        ({"seed": "abc"}, "seed"),
        ({"bananas": "1"}, "bananas"),
    ],
)
def test_bad_options(
    changed: dict[str, str],
    message: str,
    demo: Demo,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert run(scan_words(demo, tmp_path / "run", **changed)) == 2
    assert message in only_line(capsys)
    assert not (tmp_path / "run" / "summary.json").exists()


def test_neither_model_nor_base_model(
    demo: Demo, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["scan", str(demo.folder / "train.jsonl")]) == 2
    assert "give --model" in only_line(capsys)


def test_model_and_tokenizer_that_do_not_belong_together(
    demo: Demo, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    import shutil

    model = tmp_path / "model"
    shutil.copytree(demo.folder / "poisoned-model", model)
    tokenizer = json.loads((model / "tokenizer.json").read_text())
    size = len(tokenizer["model"]["vocab"])
    tokenizer["model"]["vocab"] |= {f"extra{i}": size + i for i in range(50)}
    (model / "tokenizer.json").write_text(json.dumps(tokenizer))
    assert run(scan_words(demo, tmp_path / "run", model=str(model))) == 2
    assert "they do not belong together" in only_line(capsys)


def test_no_test_input_can_be_transformed(
    demo: Demo, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    queries = tmp_path / "queries.jsonl"
    queries.write_text(ROW.replace("good film", "...") * 3)
    words = scan_words(demo, tmp_path / "run", queries=str(queries), detector="voting")
    assert run(words) == 2
    assert "no test input can be changed by any transform" in only_line(capsys)


@pytest.mark.slow
def test_a_full_disk_leaves_nothing_half_written(
    demo: Demo,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    out = tmp_path / "run"
    with monkeypatch.context() as patch:
        patch.setattr("os.pwrite", full)
        assert run(scan_words(demo, out)) == 2
    line = only_line(capsys)
    assert "evidence-" in line
    assert "cannot be written (No space left on device); it needs 0.01 GB" in line
    assert not list(out.glob("*/manifest.json"))
    assert not (out / "scores.parquet").exists()
    with monkeypatch.context() as patch:
        patch.setattr("pandas.DataFrame.to_parquet", full)
        assert run(scan_words(demo, out)) == 2
    assert "No space left on device" in only_line(capsys)
    assert not (out / "scores.parquet").exists()
    assert run(scan_words(demo, out)) == 1


def test_clean_without_a_scan(
    demo: Demo, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = str(demo.folder / "train.jsonl")
    assert run(["clean", data, "--run", str(tmp_path)]) == 2
    assert "not a run folder (no scores.parquet); run assay scan" in only_line(capsys)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--attack", "magic"], "unknown attack 'magic'; known: dirty-label"),
        (["--count", "0"], "--count 0: expected a whole number of at least 1"),
        (["--rate", "0.0001"], "--rate 0.0001 of 1000 rows is less than one row"),
        (["--count", "9999"], "lower --count or --rate"),
    ],
)
def test_bad_attacks(
    words: list[str],
    message: str,
    demo: Demo,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    data, out = str(demo.folder / "train.jsonl"), tmp_path / "bad.jsonl"
    assert run(["attack", data, "--out", str(out), *words]) == 2
    assert message in only_line(capsys)
    assert not out.exists()


def test_hostile_text_cannot_reach_the_terminal(
    demo: Demo, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = tmp_path / "hostile.jsonl"
    lines = (demo.folder / "train.jsonl").read_text().splitlines()[:60]
    rows = [json.loads(line) for line in lines]
    for row in rows:
        row["input"] = "\x1b[2J\u202e[bold]evil[/bold] " + row["input"]
    data.write_text("\n".join(map(json.dumps, rows)))
    words = ["scan", str(data), "--model", str(demo.folder / "poisoned-model")]
    assert run([*words, "--out", str(tmp_path / "run")]) in (0, 1)
    shown = capsys.readouterr().err
    assert "\x1b" not in shown
    assert "\u202e" not in shown
    assert "[bold]evil" in shown


def test_interruption_says_how_to_go_on(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("assay.cli.options.read", interrupt)
    assert run(["scan", "x.jsonl", "--model", "m"]) == 130
    assert "the same command goes on" in only_line(capsys)
