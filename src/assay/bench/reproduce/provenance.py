"""Where figures come from: what every file of an item carries."""

from __future__ import annotations

import os
import platform
import shlex
import subprocess
import sys
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import torch

from assay.runs.folder import versions

HERE = Path(__file__).parent


@dataclass(frozen=True)
class Provenance:
    """Where figures come from.

    Attributes:
        command: The command that made them.
        seed: Seed of everything random.
        code: The commit where assay is run from a checkout, with ``+changes`` where
            its source differs from it; otherwise the version.
        machine: Processor, cores and accelerator.
        versions: Package to version.
        time: When they were written, UTC.
    """

    command: str
    seed: int
    code: str
    machine: str
    versions: dict[str, str]
    time: str


def provenance(seed: int) -> Provenance:
    """Say where figures that are made now come from."""
    return Provenance(
        command=shlex.join(["assay", *sys.argv[1:]]),
        seed=seed,
        code=_code(),
        machine=machine(),
        versions=versions(),
        time=datetime.now(UTC).isoformat(timespec="seconds"),
    )


def _git(*words: str) -> str | None:
    try:
        done = subprocess.run(
            ["git", *words], cwd=HERE, capture_output=True, text=True, check=False
        )
    except OSError:
        return None
    return done.stdout.strip() if done.returncode == 0 else None


def _code() -> str:
    # An environment inside of somebody's repository is no checkout of assay.
    if _git("ls-files", "--error-unmatch", __file__) is None:
        return f"version {versions()['assay']}"
    commit = _git("rev-parse", "--short", "HEAD")
    changed = _git("status", "--porcelain", "--", str(HERE.parents[1]))
    return f"commit {commit}" + ("+changes" if changed else "")


def machine() -> str:
    """Name the processor, its cores and the accelerator."""
    name = platform.processor() or platform.machine()
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                name = line.split(":", 1)[1].strip()
                break
    except OSError:
        # Other systems than Linux have no such file.
        pass
    device = torch.cuda.get_device_name() if torch.cuda.is_available() else "CPU only"
    return f"{platform.machine()} ({name}), {os.cpu_count()} cores, {device}"
