from __future__ import annotations

import json
from dataclasses import fields
from pathlib import Path

import pytest
import yaml
from typer.main import get_command

from assay.cli import app, run
from assay.cli.config import _key
from assay.cli.generated import _texts
from assay.cli.options import Reading
from assay.models.tune_settings import TuneSettings
from assay.settings import ScanSettings
from tests.cli.conftest import only_line
from tests.conftest import Small


def written(folder: Path, options: object) -> str:
    path = folder / "options.yaml"
    text = options if isinstance(options, str) else yaml.safe_dump(options)
    path.write_text(text)
    return str(path)


def test_options_come_from_the_file_and_flags_win(small: Small, tmp_path: Path) -> None:
    out = tmp_path / "bad.jsonl"
    options = {
        "input": str(small.rows),
        "out": str(out),
        "attack": "badnets",
        "count": 5,
        "trigger": "cf",
        "overwrite": True,
    }
    path = written(tmp_path, options)

    def note() -> dict:
        return json.loads((tmp_path / "bad.jsonl.attack.json").read_text())

    assert run(["attack", "--config", path]) == 0
    assert note()["trigger"] == "cf"
    assert len(note()["rows"]) == 5
    # Whatever the order of the words.
    assert run(["attack", "--trigger", "mn", "--config", path, "--count", "6"]) == 0
    assert note()["trigger"] == "mn"
    assert len(note()["rows"]) == 6


def test_a_scan_saves_its_options_and_takes_them_again(
    small: Small, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "run"
    options = {
        "model": str(small.model),
        "influence": True,
        "detector": "voting",
        "query_count": 4,
        "factor-rows": 20,
        "rank": 2,
        # YAML 1.1 reads this as text.
        "damping": "5e-1",
        "modules": None,
    }
    path = written(tmp_path, options)
    words = ["scan", str(small.rows), "--out", str(out), "--rank", "3"]
    first = run([*words, "--config", path])
    assert first in (0, 1)
    settings = json.loads((out / "config.json").read_text())["settings"]
    assert settings["rank"] == 3
    assert settings["query_count"] == 4
    assert settings["damping"] == 0.5
    saved = yaml.safe_load((out / "options.yaml").read_text())
    assert saved["input"] == str(small.rows)
    assert saved["out"] == str(out)
    assert saved["rank"] == 3
    assert saved["seed"] == 0
    assert not set(saved) & {"config", "json", "quiet", "overwrite", "modules"}
    before = (out / "options.yaml").read_bytes()
    capsys.readouterr()
    assert run(["scan", "--config", str(out / "options.yaml")]) == first
    assert "reusing earlier measurements" in capsys.readouterr().err
    assert (out / "options.yaml").read_bytes() == before
    # A plan takes the options of a scan.
    assert run(["plan", "--config", str(out / "options.yaml"), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["rows"] == 60


def test_repeated_options_are_lists(
    small: Small, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    table = tmp_path / "rows.csv"
    table.write_text("review,label\n" + "good,positive\nbad,negative\n" * 30)
    options = {"input": str(table), "out": str(tmp_path / "bad.csv"), "count": 2}
    options["map"] = ["text=review", "response=label"]
    options["overwrite"] = True
    assert run(["attack", "--config", written(tmp_path, options)]) == 0
    options["map"] += ["text=label"]
    assert run(["attack", "--config", written(tmp_path, options)]) == 2
    assert "--map text=label: text is 'review' already" in capsys.readouterr().err
    options["map"] = "text=review"
    assert run(["attack", "--config", written(tmp_path, options)]) == 2
    assert "map: expected a list of texts" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("command", "options", "message"),
    [
        ("scan", {"epoch": 3}, "assay scan has no option 'epoch'; did you mean 'epo"),
        ("plan", {"max_lenght": 3}, "no option 'max_lenght'; did you mean 'max-leng"),
        ("tune", {"bananas": 3}, "has no option 'bananas'; see its --help"),
        ("scan", {"config": "x"}, "assay scan has no option 'config'"),
        ("scan", {"epochs": "many"}, "epochs: expected a whole number, not 'many'"),
        ("scan", {"epochs": True}, "epochs: expected a whole number, not True"),
        ("scan", {"epochs": 1.5}, "epochs: expected a whole number, not 1.5"),
        ("scan", {"epochs": 0}, "epochs: "),
        ("scan", {"fdr": "low"}, "fdr: expected a number, not 'low'"),
        ("scan", {"bf16": "yes please"}, "bf16: expected true or false, not 'yes"),
        ("attack", {"trigger": 42}, "trigger: expected text (in quotes where YAML"),
        ("clean", {"run": ["a"]}, "run: expected a path, not ['a']"),
        ("evaluate", {"model": "m"}, "model: expected a list of texts, not 'm'"),
        ("evaluate", "- a\n- b\n", "expected options, one 'name: value' a line"),
        ("attack", "rate: 0.1\ntrigger: [\n", "options.yaml:3: not valid YAML"),
        ("clean", "!!python/object/apply:os.getcwd []", "not valid YAML"),
        # The last one would win, and nobody would be told.
        (
            "scan",
            "rank: 2\nseed: 1\nrank: 3\n",
            "options.yaml:3: 'rank' stands in line 1 already; keep one of them",
        ),
        (
            "scan",
            "max-length: 9\n\nmax_length: 8\n",
            "options.yaml:3: 'max_length' stands in line 1 already",
        ),
        ("scan", "{rank: 2, 'rank': 2}", "options.yaml:1: 'rank' stands in line 1"),
        ("scan", 'out: "a\\0b"', "out: expected a path, not 'a\\x00b'"),
        ("scan", 'map: ["a\\0=b"]', "map: expected a list of texts"),
        ("scan", "fdr: .nan", "fdr: --fdr nan: expected a number from 0.0001 to 0.5"),
    ],
)
def test_bad_files(
    command: str,
    options: object,
    message: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    path = written(tmp_path, options)
    assert run([command, "--config", path]) == 2
    line = only_line(capsys)
    assert f"assay: error: {path}" in line
    assert message in line


def test_what_stands_twice_deeper_down_is_no_option_of_its_own(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    # Anchors and merges are YAML's own way to say a thing once.
    path = written(tmp_path, "a: &a {rank: 2, rank: 3}\n<<: *a\nrank: 4\n")
    assert run(["scan", "--config", path]) == 2
    assert "assay scan has no option 'a'" in only_line(capsys)


def test_a_missing_file(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["scan", "--config", "nowhere.yaml"]) == 2
    assert "nowhere.yaml: cannot be read (No such file" in only_line(capsys)


def test_what_is_neither_in_the_file_nor_a_flag_is_missed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["clean", "--config", written(tmp_path, {"input": "x.jsonl"})]) == 2
    assert "--run" in only_line(capsys)


def test_options_reach_the_settings_of_the_same_name() -> None:
    commands = get_command(app).commands
    options = {name: {_key(p) for p in c.params} for name, c in commands.items()}
    assert options["scan"] - options["plan"] == {"overwrite"}
    params = {p.name for p in commands["scan"].params}
    assert {f.name for f in fields(ScanSettings)} <= params
    for name in ("scan", "plan", "tune", "attack", "evaluate", "clean"):
        assert {"config", "quiet"} <= options[name]


@pytest.mark.parametrize("kind", [ScanSettings, TuneSettings, Reading])
def test_every_setting_has_a_text_for_its_option(kind: type) -> None:
    texts = _texts(kind)
    assert {f.name for f in fields(kind)} == set(texts)
    assert all(text.endswith(".") and "`" not in text for text in texts.values())
