"""Rules that the tests themselves keep."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

HERE = Path(__file__).parent


def imported(path: Path) -> list[str]:
    found = []
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom):
            found.append(node.module or "")
        elif isinstance(node, ast.Import):
            found += [alias.name for alias in node.names]
    return found


@pytest.mark.parametrize(
    "path",
    sorted(HERE.rglob("*.py")),
    ids=lambda p: p.relative_to(HERE).as_posix(),
)
def test_tests_import_nothing_from_other_test_modules(path: Path) -> None:
    modules = [name.rpartition(".")[2] for name in imported(path)]
    assert not [name for name in modules if name.startswith("test_")]
