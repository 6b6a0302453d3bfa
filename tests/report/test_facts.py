from __future__ import annotations

import json
import shlex
import shutil
from pathlib import Path

import datasets
import numpy as np
import pytest

from assay.cli import run as command
from assay.report import facts
from assay.report.folder import read_run
from tests.conftest import Demo, Small
from tests.made import entry
from tests.report.conftest import write_run


def test_reproducing_command_makes_the_same_run(
    small: Small, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "a run"
    first = command(small.scan_words(out, "--no-verify", "--seed", "3"))
    words = shlex.split(facts.command(read_run(out)))
    assert words[:3] == ["assay", "scan", str(small.rows)]
    assert words[words.index("--out") + 1] == str(out)
    again = tmp_path / "again"
    words[words.index("--out") + 1] = str(again)
    assert command(words[1:]) == first
    one, other = (json.loads((o / "config.json").read_text()) for o in (out, again))
    assert one == other


def test_reproducing_command_names_the_split(small: Small, tmp_path: Path) -> None:
    rows = datasets.Dataset.from_json(str(small.rows))
    folder, out = tmp_path / "data", tmp_path / "run"
    datasets.DatasetDict(held=rows).save_to_disk(str(folder))
    words = ["scan", str(folder), "--split", "held", "--model", str(small.model)]
    command([*words, "--no-verify", "--rank", "2", "--out", str(out)])
    assert "--split held" in facts.command(read_run(out))


def test_reproducing_command_names_each_transform(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", ["a"] * 10, ["x"] * 10)
    path = run / "config.json"
    config = json.loads(path.read_text())
    assert config["settings"]["transforms"] == []
    assert "--transforms" not in facts.command(read_run(run))
    config["settings"] |= {"transforms": ["do-not", "opposite"], "top_k": 5}
    path.write_text(json.dumps(config))
    words = facts.command(read_run(run))
    assert "--transforms do-not --transforms opposite" in words
    assert "--top-k 5" in words


def test_command_of_the_demo_finds_its_measurements(
    demo: Demo, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = shutil.copytree(demo.folder / "run", tmp_path / "run")
    words = shlex.split(facts.command(read_run(run)))
    assert command(words[1:]) == 1
    assert "reusing the evidence" in capsys.readouterr().err


def test_verdicts(tmp_path: Path) -> None:
    texts, responses = [f"a {i}" for i in range(50)], ["x", "y"] * 25
    several = [entry([i], "a", trigger=f"word {i}") for i in range(3)]
    run = read_run(write_run(tmp_path / "1", texts, responses, several))
    sentence = facts.verdict_sentence(run)
    assert sentence.startswith("3 of 50 rows (6.0%) carry a trigger")
    assert sentence.endswith("“word 1” makes the model answer “positive” (and 1 more).")
    strong = entry([0], "a", verified=False, status="sufficient")
    run = read_run(
        write_run(tmp_path / "2", texts, responses, [strong], verdict="suspicious")
    )
    assert facts.verdict_sentence(run).startswith("No row is flagged, but 1 of 1")


def test_agreement_counts_rows_that_two_flag(tmp_path: Path) -> None:
    texts = [f"a {i}" for i in range(10)]
    found = entry([0, 1, 2], "a")
    run = read_run(write_run(tmp_path / "run", texts, ["x"] * 10, [found]))
    counted = facts.agreement(run)
    assert counted["names"] == ["verdict", "gradient-geometry", "high-loss"]
    # The made "high-loss" flags exactly what geometry does not.
    assert counted["shared"] == [[3, 3, 0], [3, 3, 0], [0, 0, 7]]
    assert counted["votes"] == [0, 10]


def test_distributions_count_every_row(tmp_path: Path) -> None:
    texts = [f"a {i}" for i in range(500)]
    found = entry([0, 1, 2], "a")
    run = read_run(write_run(tmp_path / "run", texts, ["x"] * 500, [found]))
    run.table.loc[7, "influence.negation"] = np.nan
    (first, second) = facts.distributions(run)
    assert [first["name"], second["name"]] == ["negation", "paraphrase"]
    for found in (first, second):
        assert sum(found["before"]) == sum(found["after"]) == 500
        assert sum(found["flagged_before"]) == sum(found["flagged_after"]) == 3
        assert len(found["edges"]) == len(found["before"]) + 1
    bare = read_run(write_run(tmp_path / "bare", texts, ["x"] * 500, influences=False))
    assert facts.distributions(bare) == []
