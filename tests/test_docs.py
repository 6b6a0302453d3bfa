"""The site builds without a warning, needs no network to read, and runs as written."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

# Processes, whole scans or a browser: more than a minute in all.
pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    pytest.importorskip("mkdocs")
    folder = tmp_path_factory.mktemp("site")
    done = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", folder],
        capture_output=True,
        text=True,
        cwd=ROOT,
    )
    assert done.returncode == 0, done.stderr
    return folder


def test_every_command_and_name_has_its_page(site: Path) -> None:
    commands = (site / "reference" / "cli.html").read_text(encoding="utf-8")
    for command in ("scan", "plan", "clean", "tune", "evaluate", "attack", "demo"):
        assert f"assay {command}" in commands
    python = (site / "reference" / "python.html").read_text(encoding="utf-8")
    for name in ("assay.api.scan", "assay.api.Report.suspects", "AssayCallback"):
        assert name in python
    assert "max_memory" in (site / "reference" / "settings.html").read_text("utf-8")


def test_pages_load_nothing_from_elsewhere(site: Path) -> None:
    loads = re.compile(
        r"""<(?:script|img|iframe|source)[^>]*\ssrc=["']?(?:https?:)?//"""
        r"""|<link[^>]*\shref=["']?(?:https?:)?//(?![^>]*canonical)"""
        r"""|url\(["']?(?:https?:)?//|@import"""
    )
    pages = [p for p in site.rglob("*") if p.suffix in (".html", ".css")]
    assert len(pages) > 10
    for page in pages:
        assert not loads.search(page.read_text(encoding="utf-8")), page


def test_sections_of_the_readme_are_on_their_pages(site: Path) -> None:
    for page, words in (("results", "trigger named"), ("limits", "clean-label")):
        shown = (site / f"{page}.html").read_text(encoding="utf-8")
        assert words in shown
        assert "section of README" not in shown
