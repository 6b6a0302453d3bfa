from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from assay.cli import run as command
from assay.errors import AssayError
from assay.report.folder import read_run
from tests.report.conftest import write_run


@pytest.fixture
def run(tmp_path: Path) -> Path:
    return write_run(tmp_path / "run", ["a", "b", "c"], ["x", "y", "x"])


def test_everything_is_read(run: Path) -> None:
    found = read_run(run)
    assert found.detectors == ["gradient-geometry", "high-loss"]
    assert found.query_sets == ["original", "negation", "paraphrase"]
    assert found.table["text"].tolist() == ["a", "b", "c"]
    assert found.influence("original").std() == pytest.approx(1)
    assert found.evaluation == {}


def test_older_folder_asks_for_a_scan(
    run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (run / "rows.parquet").unlink()
    assert command(["report", str(run)]) == 2
    line = capsys.readouterr().err.strip()
    assert "made by an older assay (no rows.parquet); scan again" in line
    assert "\n" not in line
    assert not (run / "report.html").exists()


def overwrite(name: str, text: str) -> Callable[[Path], object]:
    return lambda run: (run / name).write_text(text)


def other_rows(run: Path) -> None:
    other = write_run(run.parent / "other", ["a", "b"], ["x", "y"])
    (other / "rows.parquet").replace(run / "rows.parquet")


def other_detector(run: Path) -> None:
    summary = json.loads((run / "summary.json").read_text())
    summary["detector"] = "nobody"
    (run / "summary.json").write_text(json.dumps(summary))


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda run: (run / "summary.json").unlink(), "not a run folder"),
        (overwrite("summary.json", "{oops"), "summary.json: damaged"),
        (overwrite("config.json", "[]"), "config.json: damaged"),
        (overwrite("rows.parquet", "PAR1"), "rows.parquet: damaged"),
        (overwrite("evaluation.json", '{"a": {"b": 1}}'), "assay evaluate --json"),
        (other_rows, "are not of one scan"),
        (other_detector, "does not describe"),
    ],
)
def test_damage_is_named(
    run: Path, damage: Callable[[Path], object], message: str
) -> None:
    damage(run)
    with pytest.raises(AssayError, match=message):
        read_run(run)
