from __future__ import annotations

import importlib
import io

import pytest

# The package has a function of that name.
module = importlib.import_module("assay.cli.console")


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def attach_terminal(monkeypatch: pytest.MonkeyPatch) -> Terminal:
    """Call this in the test: pytest puts its own stderr back after the set-up."""
    stream = Terminal()
    monkeypatch.setattr("sys.stderr", stream)
    return stream


def only_line(capsys: pytest.CaptureFixture[str]) -> str:
    """The error, which is the last line and the only one that is not a log line."""
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "Traceback" not in captured.err
    (line,) = [
        line for line in captured.err.splitlines() if line.startswith("assay: error:")
    ]
    assert captured.err.rstrip().endswith(line)
    return line
