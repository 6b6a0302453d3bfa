from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings

# Time is no property of ours: a busy machine must not fail a test.
settings.register_profile(
    "assay", deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("assay")


@dataclass(frozen=True)
class Demo:
    """What ``assay demo --fast`` left behind."""

    folder: Path
    result: dict[str, Any]
    stderr: str


@pytest.fixture(scope="session")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Demo:
    """Run the fast demonstration once, as a user would."""
    folder = tmp_path_factory.mktemp("demo") / "out"
    done = subprocess.run(
        [sys.executable, "-m", "assay", "demo", "--fast", "--json", "--out", folder],
        capture_output=True,
        text=True,
        env={**os.environ, "HF_HUB_OFFLINE": "1"},
    )
    assert done.returncode == 0, done.stderr
    return Demo(folder, json.loads(done.stdout), done.stderr)
