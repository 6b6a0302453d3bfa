"""What mkdocs does besides: pages that are made of the code and of the README."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File, Files

ROOT = Path(__file__).parent.parent
INCLUDE = re.compile(r"^<!-- section of README\.md: (.+) -->$", re.MULTILINE)


def command_reference() -> str:
    """Options of every command, as typer itself writes them down."""
    words = ["-m", "typer", "assay.cli", "utils", "docs", "--name", "assay"]
    done = subprocess.run(
        [sys.executable, *words], capture_output=True, text=True, check=True, cwd=ROOT
    )
    return done.stdout


def readme_section(heading: str) -> str:
    """Text under a second-level heading of the README, without the heading."""
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    found = re.search(
        rf"^## {re.escape(heading)}\n(.*?)(?=^## |\Z)", readme, re.MULTILINE | re.DOTALL
    )
    if found is None:
        raise ValueError(f"README.md has no section {heading!r}")
    # Links that are right in the README are not from here.
    return found[1].replace("](docs/", "](")


def on_files(files: Files, config: Any) -> Files:
    """Add the pages that are generated."""
    made = {
        "reference/cli.md": command_reference(),
        "security.md": (ROOT / "SECURITY.md").read_text(encoding="utf-8"),
    }
    for path, content in made.items():
        files.append(File.generated(config, path, content=content))
    return files


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Put sections of the README where a page asks for them."""
    return INCLUDE.sub(lambda found: readme_section(found[1]), markdown)
