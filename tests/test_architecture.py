"""Two branches meet in the scan, and nothing imports against them.

data → models → influence, and data → text → detectors → verify; both meet in scanning.
docs/architecture.md explains it.
"""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

SOURCE = Path(__file__).parents[1] / "src"
_BASE = {"errors", "util"}
_DATA = {*_BASE, "data"}
_TEXTS = {*_DATA, "text", "paper_rules", "detectors"}
_BRANCHES = {
    *_TEXTS,
    "names",
    "verify",
    "models",
    "influence",
    "transforms",
    "settings",
}
# What each part may import; itself always.
ALLOWED: dict[str, set[str]] = {
    "errors": set(),
    "names": set(),
    "paper_rules": _BASE,
    "util": {"errors"},
    "data": _BASE,
    "transforms": _DATA,
    "attacks": _DATA,
    "models": _DATA,
    "influence": {*_DATA, "models"},
    "text": _DATA,
    "detectors": {*_DATA, "text", "names", "paper_rules"},
    "verify": _TEXTS,
    "settings": {*_BASE, "names", "paper_rules", "influence", "detectors", "verify"},
    "runs": {*_TEXTS, "verify"},
    "report": {*_TEXTS, "verify", "settings", "runs"},
    "scanning": {*_BRANCHES, "runs", "report"},
    "bench": {*_BRANCHES, "attacks", "runs", "report", "scanning"},
    "api": {*_BRANCHES, "runs", "report", "scanning"},
    "callback": {*_BRANCHES, "api", "runs", "scanning"},
    "cli": {*_BRANCHES, "attacks", "runs", "report", "scanning", "bench"},
    "assay": {"api", "errors", "util"},
    "__main__": {"cli"},
}


def name(path: Path) -> str:
    parts = path.relative_to(SOURCE).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {name(path): path for path in SOURCE.rglob("*.py")}


def part(module: str) -> str:
    """The package or module right below ``assay`` that a module belongs to."""
    return [*module.split("."), ""][1] or "assay"


def imports(module: str) -> set[str]:
    """Modules of assay that a module imports, wherever in it."""
    found = set()
    for node in ast.walk(ast.parse(MODULES[module].read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            # A relative import would not be seen here.
            assert not node.level, f"{module}: write imports out"
            assert node.module is not None
            names = [f"{node.module}.{alias.name}" for alias in node.names]
            names = [n if n in MODULES else node.module for n in names]
        elif isinstance(node, ast.Call) and ast.unparse(node.func).endswith(
            ("import_module", "__import__")
        ):
            names = [a.value for a in node.args if isinstance(a, ast.Constant)]
        else:
            continue
        found |= {n for n in names if n in MODULES and n != module}
    return found


def test_every_part_has_its_place() -> None:
    assert {part(m) for m in MODULES} == set(ALLOWED)


@pytest.mark.parametrize("module", sorted(MODULES))
def test_nothing_imports_against_the_direction(module: str) -> None:
    reached = {part(m) for m in imports(module)} - {part(module)}
    assert reached <= ALLOWED[part(module)]


def test_no_parts_import_each_other() -> None:
    graph = {
        p: {part(t) for m in MODULES if part(m) == p for t in imports(m)} - {p}
        for p in ALLOWED
    }
    done: set[str] = set()
    while len(done) < len(graph):
        ready = {p for p, needs in graph.items() if p not in done and needs <= done}
        assert ready, {p: needs - done for p, needs in graph.items() if p not in done}
        done |= ready


def test_no_modules_import_each_other() -> None:
    graph = {m: imports(m) for m in MODULES}
    done: set[str] = set()
    while len(done) < len(graph):
        ready = {m for m, needs in graph.items() if m not in done and needs <= done}
        assert ready, {m: needs - done for m, needs in graph.items() if m not in done}
        done |= ready


def libraries(module: str) -> set[str]:
    """What a module imports that is not of assay."""
    found = set()
    for node in ast.walk(ast.parse(MODULES[module].read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found.add(node.module.split(".")[0])
    return found


@pytest.mark.parametrize(
    "module",
    sorted(m for m in MODULES if part(m) in ("text", "detectors", "verify")),
)
def test_the_branch_of_texts_knows_nothing_of_models(module: str) -> None:
    assert not libraries(module) & {"torch", "transformers", "peft"}


def test_an_import_against_the_direction_would_be_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bad = tmp_path / "bad.py"
    bad.write_text("def late():\n    from assay.verify import causal\n")
    monkeypatch.setitem(MODULES, "assay.data.bad", bad)
    assert imports("assay.data.bad") == {"assay.verify.causal"}
    with pytest.raises(AssertionError):
        test_nothing_imports_against_the_direction("assay.data.bad")
