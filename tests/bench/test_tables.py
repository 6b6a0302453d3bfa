"""What is printed about results comes from result files."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
RESULTS = sorted((ROOT / "benchmarks" / "results").rglob("*.json"))

spec = importlib.util.spec_from_file_location("tables", ROOT / "benchmarks/tables.py")
assert spec is not None
assert spec.loader is not None
tables = importlib.util.module_from_spec(spec)
spec.loader.exec_module(tables)


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
