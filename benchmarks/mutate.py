"""Which thresholds of the verification can be changed without a test noticing?

    .venv/bin/python benchmarks/mutate.py                # all of them, about an hour
    .venv/bin/python benchmarks/mutate.py HOSTS WORKS    # some

Each constant of ``verify/thresholds.py`` is made a third larger and a third smaller
(whole numbers at least 1), in a copy of the sources, and ``tests/verify`` is run on the
copy: first the test that noticed the change before, or the tests of the modules that
use the constant, then all. What is known already of the same sources and tests is not
run again, so that an interrupted run goes on.

Exit status: 0 where at most three constants survive, each with a reason; else 1.
"""

from __future__ import annotations

import ast
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer
from provenance import HERE, provenance

from assay.util.files import write_json
from assay.verify import thresholds

ROOT = HERE.parent
FILE = Path("src/assay/verify/thresholds.py")
TESTS = "tests/verify"
# What a result depends on.
SOURCES = (
    "src/assay/detectors",
    "src/assay/text",
    "src/assay/verify",
    "tests/verify",
)
RESULT = HERE / "results" / "mutate.json"
# A run of the tests that takes so long has noticed; in seconds.
PATIENCE = 1800
# Runs of tests whose process is killed, and seconds between them.
TRIES = 5
PAUSE = 30
MOST = 3
# Constants that may survive, and why no test on them would say more.
REASONS: dict[str, str] = {}


@dataclass(frozen=True)
class Constant:
    """A constant, and where its value stands in the file."""

    name: str
    value: float
    line: int
    start: int
    end: int

    @property
    def mutants(self) -> tuple[float, float]:
        """A third more and a third less."""
        more, less = self.value * 4 / 3, self.value * 2 / 3
        if isinstance(self.value, int):
            return max(self.value + 1, round(more)), min(self.value - 1, round(less))
        return more, less


def constants(source: str) -> list[Constant]:
    """Constants that follow from no other, in their order."""
    found = []
    names = set()
    for node in ast.parse(source).body:
        if not isinstance(node, ast.AnnAssign) or node.value is None:
            continue
        assert isinstance(node.target, ast.Name)
        used = {n.id for n in ast.walk(node.value) if isinstance(n, ast.Name)}
        names.add(node.target.id)
        if used & names:
            continue
        value = node.value
        assert value.lineno == value.end_lineno
        assert value.end_col_offset is not None
        found.append(
            Constant(
                node.target.id,
                getattr(thresholds, node.target.id),
                value.lineno,
                value.col_offset,
                value.end_col_offset,
            )
        )
    return found


def changed(source: str, constant: Constant, value: float) -> str:
    """The file with another value of a constant."""
    lines = source.splitlines(keepends=True)
    line = lines[constant.line - 1]
    lines[constant.line - 1] = (
        line[: constant.start] + repr(value) + line[constant.end :]
    )
    return "".join(lines)


def run_tests(sources: Path, *tests: str) -> tuple[bool, str]:
    """Run tests on a copy of the sources until one fails; return whether, and which."""
    environment = os.environ | {
        "PYTHONPATH": str(sources),
        "PYTHONDONTWRITEBYTECODE": "1",
        "HF_HUB_OFFLINE": "1",
    }
    words = [sys.executable, "-m", "pytest", "-x", "-q", "--durations=0"]
    words += ["-p", "no:cacheprovider", *tests]
    # A process that is killed, for memory perhaps, says nothing of the tests.
    for _ in range(TRIES):
        try:
            done = subprocess.run(
                words,
                cwd=ROOT,
                env=environment,
                capture_output=True,
                text=True,
                timeout=PATIENCE,
            )
        except subprocess.TimeoutExpired:
            return False, "too slow"
        if done.returncode >= 0:
            failed = re.search(r"^(?:FAILED|ERROR) (\S+)", done.stdout, re.M)
            return done.returncode == 0, failed[1] if failed else ""
        time.sleep(PAUSE)
    raise RuntimeError(done.stdout + done.stderr)


def nearest(name: str) -> list[str]:
    """Tests of the modules that use a constant."""
    found = []
    for path in sorted((ROOT / FILE).parent.rglob("*.py")):
        # The tests of a package are those of its files.
        module = path.parent.name if path.parent.name == "payload" else path.stem
        test = f"{TESTS}/test_{module}.py"
        used = re.search(rf"\b{name}\b", path.read_text(encoding="utf-8"))
        if used and path.name != FILE.name and (ROOT / test).is_file():
            found.append(test)
    return list(dict.fromkeys(found))


def digest() -> str:
    """Hash of the sources and tests."""
    total = hashlib.sha256()
    for folder in SOURCES:
        for path in sorted((ROOT / folder).rglob("*.py")):
            total.update(str(path.relative_to(ROOT)).encode() + path.read_bytes())
    return total.hexdigest()


def earlier() -> dict[str, Any]:
    """What an earlier run found."""
    if RESULT.is_file():
        return dict(json.loads(RESULT.read_text(encoding="utf-8")))
    return {}


def questions(
    chosen: list[Constant], known: dict[str, Any]
) -> Iterator[tuple[Constant, float]]:
    """Changes that are still to be tried."""
    for constant in chosen:
        for value in constant.mutants:
            if str(value) not in known.get(constant.name, {}).get("changed", {}):
                yield constant, value


def main(
    names: Annotated[
        list[str] | None, typer.Argument(help="Constants; all by default.")
    ] = None,
) -> None:
    source = (ROOT / FILE).read_text(encoding="utf-8")
    found = constants(source)
    unknown = set(names or ()) - {c.name for c in found}
    if unknown:
        raise typer.BadParameter(f"not in {FILE}: {', '.join(sorted(unknown))}")
    chosen = [c for c in found if not names or c.name in names]
    before, sources = earlier(), digest()
    hints = before.get("constants", {})
    same = before.get("sources") == sources
    known: dict[str, Any] = hints if same else {}
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / "src"
        shutil.copytree(
            ROOT / "src", copy, ignore=shutil.ignore_patterns("__pycache__")
        )
        target = copy / FILE.relative_to("src")
        seconds = before.get("seconds") if same else None
        if seconds is None:
            start = time.perf_counter()
            passed, failed = run_tests(copy, TESTS)
            if not passed:
                raise SystemExit(f"the tests fail before anything is changed: {failed}")
            seconds = round(time.perf_counter() - start, 1)
        for constant, value in questions(chosen, known):
            target.write_text(changed(source, constant, value), encoding="utf-8")
            hint = hints.get(constant.name, {}).get("changed", {}).get(str(value))
            start = time.perf_counter()
            passed, by = True, ""
            # A hint may be of a test that is gone: then nothing fails by name.
            for tests in ([hint] if hint else [], nearest(constant.name), [TESTS]):
                if tests and not by:
                    passed, by = run_tests(copy, *tests)
            entry = known.setdefault(
                constant.name, {"value": constant.value, "changed": {}}
            )
            entry["changed"][str(value)] = by or None
            took = time.perf_counter() - start
            said = "survives" if passed else by
            print(f"{constant.name} = {value:g}: {said} ({took:.0f} s)", flush=True)
            write_json(RESULT, summary(sources, seconds, known, found))
        target.write_text(source, encoding="utf-8")
    result = summary(sources, seconds, known, found)
    write_json(RESULT, result)
    left = result["survive"]
    print(f"{len(left)} of {len(known)} survive: {', '.join(left) or 'none'}")
    raise SystemExit(int(len(left) > MOST or not set(left) <= set(REASONS)))


def summary(
    sources: str, seconds: float, known: dict[str, Any], found: list[Constant]
) -> dict[str, Any]:
    """What is known, with where it comes from."""
    order = {c.name: known[c.name] for c in found if c.name in known}
    left = [n for n, e in order.items() if None in e["changed"].values()]
    return {
        **provenance(),
        "seed": "of each test its own, fixed",
        "sources": sources,
        "seconds": seconds,
        "constants": order,
        "survive": {name: REASONS.get(name, "no reason is known") for name in left},
    }


if __name__ == "__main__":
    typer.run(main)
