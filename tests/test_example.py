"""The example runs, as a script would, and finds what it planted."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLE = Path(__file__).parents[1] / "examples" / "scan_in_python.py"


@pytest.mark.slow
def test_the_example_finds_its_poison(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, EXAMPLE],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env={**os.environ, "HF_HUB_OFFLINE": "1", "TMPDIR": str(tmp_path)},
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("poisoned\n")
    assert "James Bond" in done.stdout
    removed, caught = (
        int(words.split()[0]) for words in done.stdout.splitlines()[-1].split(", ")
    )
    assert caught >= 22
    assert removed - caught <= 3
