from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from assay.cli import run
from tests.cli.conftest import only_line


def test_the_list_says_what_there_is_and_what_is_not_yet(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert run(["reproduce", "--list"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 16
    (built,) = [line for line in lines if line.startswith("table-3 ")]
    assert built.split(maxsplit=1)[1] == "Table 3: the rules of the ensemble"
    (missing,) = [line for line in lines if line.startswith("figure-7 ")]
    assert missing.endswith("(not yet)")


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["table-6"], "unknown item 'table-6'; known: table-1, "),
        (["table-3", "figure-2"], "figure-2: not yet; assay reproduce --list "),
        (["--scale", "large"], "--scale large: expected one of cpu, paper"),
        (["--sst2", "nowhere"], "--sst2 nowhere: no such folder"),
    ],
)
def test_what_cannot_be_asked_for(
    words: list[str],
    told: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    assert run(["reproduce", *words]) == 2
    assert told in only_line(capsys)
    assert list(tmp_path.iterdir()) == []


def test_listing_and_refusing_take_no_torch() -> None:
    code = (
        "import sys\n"
        "from assay.cli import run\n"
        "assert run(['reproduce', '--list']) == 0\n"
        "assert run(['reproduce', 'table-1']) == 2\n"
        "heavy = {'torch', 'transformers', 'pandas', 'matplotlib'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env=os.environ
    )
    assert done.returncode == 0, done.stderr
