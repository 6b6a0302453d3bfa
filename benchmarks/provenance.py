"""Where a result comes from: entries every result file carries."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

from assay.bench.reproduce.provenance import machine
from assay.runs.folder import versions

HERE = Path(__file__).parent


def commit() -> str:
    def git(*words: str) -> str:
        return subprocess.run(
            ["git", *words], cwd=HERE, capture_output=True, text=True, check=True
        ).stdout.strip()

    # The result files of earlier seeds are no change to what is measured.
    dirty = git("status", "--porcelain", "--", "../src", ".", ":(exclude)results")
    return git("rev-parse", "--short", "HEAD") + ("+changes" if dirty else "")


def provenance() -> dict[str, Any]:
    return {
        "command": " ".join(["python", *sys.argv]),
        "commit": commit(),
        "machine": machine(),
        "versions": versions(),
    }
