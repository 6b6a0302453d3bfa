"""Where a result comes from: entries every result file carries."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
from pathlib import Path
from typing import Any

import torch

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


def machine() -> str:
    name = platform.processor() or platform.machine()
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            name = line.split(":", 1)[1].strip()
            break
    device = torch.cuda.get_device_name() if torch.cuda.is_available() else "CPU only"
    return f"{platform.machine()} ({name}), {os.cpu_count()} cores, {device}"


def provenance() -> dict[str, Any]:
    return {
        "command": " ".join(["python", *sys.argv]),
        "commit": commit(),
        "machine": machine(),
        "versions": versions(),
    }
