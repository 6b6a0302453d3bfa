from __future__ import annotations

import pytest

from assay.cli.evaluate import show_models


def test_names_of_tasks_and_models_cannot_reach_the_terminal(
    capsys: pytest.CaptureFixture[str],
) -> None:
    value = {"value": 0.5, "low": 0.4, "high": 0.6}
    task = "[/] [red]x[/] \x1b[2J ratio"
    show_models({"model\n\u202e[bold]": {task: value}})
    shown = capsys.readouterr().out
    assert "[/] [red]x[/] \\x1b[2J ratio" in shown
    assert "model\\n\\u202e[bold]" in shown
    assert not set(shown) & set("\x1b\u202e")
