"""What is printed about results comes from result files."""

from __future__ import annotations

import importlib
import json
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
RESULTS = sorted((ROOT / "benchmarks" / "results").rglob("*.json"))

with pytest.MonkeyPatch.context() as patch:
    patch.syspath_prepend(ROOT / "benchmarks")
    tables = importlib.import_module("tables")
    grid_tables = importlib.import_module("grid_tables")


@pytest.mark.parametrize("page", tables.PAGES, ids=lambda p: p.name)
def test_pages_show_the_result_files(page: Path) -> None:
    assert tables.rendered(page) == page.read_text(encoding="utf-8")


def test_a_changed_figure_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    readme = tables.README.read_text(encoding="utf-8")
    changed = tables.load()
    for results in changed.values():
        results[0]["before"]["accuracy"] += 0.01
    monkeypatch.setattr(tables, "load", lambda: changed)
    assert tables.rendered(tables.README) != readme


@pytest.mark.parametrize("path", RESULTS, ids=lambda p: p.name)
def test_every_result_says_where_it_comes_from(path: Path) -> None:
    result = json.loads(path.read_text(encoding="utf-8"))
    for key in ("command", "commit", "seed", "machine", "versions"):
        assert result[key] or result[key] == 0


def cell(attack: str = "badnets", rate: float = 0.05, **more: Any) -> dict[str, Any]:
    f1 = more.pop("f1", 1.0)
    return {
        "model": "tiny",
        "dataset": "generated",
        "attack": attack,
        "rate": rate,
        "scan": {"f1": f1},
        "detectors": {"spectral": {"f1": 0.9}, "assay scan": {"f1": f1}},
        "trigger_named": f1 == 1,
        "clean_attack_success_rate": 0.01,
        "clean_accuracy": 0.99,
        "after": {"attack_success_rate": 0.04, "accuracy": 0.98},
        **more,
    }


CONTROL = {"verdict": "clean", "flagged": 0}


def missed(worked: list[dict[str, Any]], controls: list[dict[str, Any]]) -> list[str]:
    lines = grid_tables._bars(worked, controls)
    return [line for line in lines if "**no**" in line]


def test_bars_that_are_met() -> None:
    worked = [cell(), cell("adaptive"), cell("clean-label", 0.01, f1=0.95)]
    assert missed(worked, [CONTROL] * 20) == []


@pytest.mark.parametrize(
    ("worked", "control", "what"),
    [
        (cell(f1=0.96), CONTROL, "F1 ≥ 0.97"),
        (cell(trigger_named=False), CONTROL, "named exactly"),
        (cell("composite", 0.02, f1=0.8), CONTROL, "composite"),
        (cell("composite", 0.01, f1=0.8), CONTROL, "composite 1% (1)"),
        (cell(), {"verdict": "poisoned", "flagged": 0}, "no verified finding"),
        (cell(), {"verdict": "clean", "flagged": 2}, "rows flagged"),
        (
            cell(after={"attack_success_rate": 0.05, "accuracy": 0.98}),
            CONTROL,
            "+4.0 points; not in 1 cells",
        ),
        (
            cell(after={"attack_success_rate": 0.04, "accuracy": 0.97}),
            CONTROL,
            "-2.0 points; not in 1 cells",
        ),
        (cell(f1=0.8), CONTROL, "behind in 1: badnets 5% (1)"),
    ],
)
def test_bars_that_are_missed(
    worked: dict[str, Any], control: dict[str, Any], what: str
) -> None:
    assert any(what in line for line in missed([worked], [control]))


def overview(found: list[dict[str, Any]]) -> list[list[str]]:
    lines = grid_tables._overview(found)
    return [[c.strip() for c in line.split("|")[1:-1]] for line in lines if "|" in line]


def test_the_overview_has_a_line_for_each_bar_and_marks_misses() -> None:
    rows = overview(
        [
            cell(attack_worked=True),
            cell("addsent", 0.01, attack_worked=True),
            cell("adaptive", 0.02, f1=0.5, attack_worked=True),
            cell("composite", 0.01, f1=0.2, attack_worked=True),
            cell("composite", 0.05, attack_worked=False),
        ]
    )
    plain, adaptive, barless = rows[2:5]
    assert plain[1:7] == ["addsent, badnets", "1 to 5 %", "2", "1.00", "≥ 0.97", "2"]
    assert plain[7:] == ["spectral (0.90)", "0.04", "0.01"]
    assert adaptive[1:6] == ["adaptive", "2 %", "1", "**0.50**", "≥ 0.7"]
    assert barless[1:6] == ["composite", "1 %", "1", "0.20", "–"]


def test_the_overview_counts_controls_and_failed_attacks() -> None:
    control = {"model": "tiny", "dataset": "sst2", "verdict": "clean", "flagged": 0}
    found = [
        cell(attack_worked=False),
        {**control, "attack": "clean"},
        {**control, "attack": "clean", "verdict": "suspicious"},
        {**control, "attack": "mentions", "verdict": "poisoned", "flagged": 3},
    ]
    assert "In 1 cell the attack failed; it is listed apart." in (
        grid_tables._overview(found)
    )
    assert overview(found)[-1] == ["tiny, sst2", "clean, mentions", "3", "1", "1", "3"]


def test_an_overview_of_nothing_says_so() -> None:
    assert grid_tables._overview([]) == ["Not measured yet.", ""]
