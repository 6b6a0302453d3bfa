from __future__ import annotations

import unicodedata
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.markup import render
from rich.text import Span

from assay.cli.console import console, fail, progress_bar, safe, visible
from tests.cli.conftest import attach_terminal, module


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    for name in ("NO_COLOR", "FORCE_COLOR", "TTY_COMPATIBLE", "TTY_INTERACTIVE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("TERM", "xterm-256color")
    module._shared_console.cache_clear()
    yield
    module._shared_console.cache_clear()


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("\x1b[31mred\x1b[0m", r"\x1b[31mred\x1b[0m"),
        ("\x9b2J", r"\x9b2J"),
        ("\x1b]0;title\x07", r"\x1b]0;title\x07"),
        ("admin\u202etxt.exe", r"admin\u202etxt.exe"),
        ("\u2066isolated\u2069", r"\u2066isolated\u2069"),
        ("zero\u200bwidth\ufeff", r"zero\u200bwidth\ufeff"),
        ("tag\U000e0041", r"tag\U000e0041"),
        ("line\r\nforged\u2028line\tend", r"line\r\nforged\u2028line\tend"),
        ("lone \udc80", r"lone \udc80"),
        ("plain é 漢字 עברית 🙂", "plain é 漢字 עברית 🙂"),
    ],
)
def test_hidden_characters_become_visible(text: str, expected: str) -> None:
    assert visible(text) == expected
    assert render(safe(text)).plain == expected


@pytest.mark.parametrize(
    "text", ["[bold red]x[/]", "[/]", "[link=http://x]y[/link]", r"\[b]x", "a[0] [B]"]
)
def test_markup_is_shown_literally(text: str) -> None:
    rendered = render(safe(text))
    assert rendered.plain == text
    assert not rendered.spans


def test_a_tag_cannot_be_completed_by_the_next_text() -> None:
    rendered = render(f"{safe('[bold')} {safe('red] gone')}")
    assert rendered.plain == r"\x5bbold red] gone"


PIECES = st.lists(
    st.sampled_from(["[", "]", "\\", "/", "b", "[b]", "[/b]", "\x1b", "\u202e", "é"])
)


@given(st.text() | PIECES.map("".join), st.text() | PIECES.map("".join))
def test_surrounding_markup_survives_any_text(first: str, second: str) -> None:
    rendered = render(f"[bold]{safe(first)} | {safe(second)}[/bold]", emoji=False)
    assert rendered.spans == [Span(0, len(rendered.plain), "bold")]
    categories = {unicodedata.category(character) for character in rendered.plain}
    assert not categories & {"Cc", "Cf", "Cs", "Zl", "Zp"}


def test_logs_are_plain_and_unwrapped_when_not_a_terminal(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    line = "word " * 60 + ":bomb: 42"
    console().print(f"[red]{line}[/red]")
    captured = capsys.readouterr()
    assert captured.err == line + "\n"
    assert captured.out == ""


def test_terminal_has_colour_unless_no_color(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = attach_terminal(monkeypatch)
    console().print("[red]first[/red]")
    assert "\x1b[31m" in terminal.getvalue()
    monkeypatch.setenv("NO_COLOR", "1")
    terminal.truncate(0)
    console().print("[red]second[/red]")
    assert "second" in terminal.getvalue()
    assert "\x1b[31m" not in terminal.getvalue()


def test_progress_is_silent_when_not_a_terminal(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    with progress_bar("Scoring") as update:
        update(1, 4)
        update(4, 4)
    captured = capsys.readouterr()
    assert captured.err == ""
    assert captured.out == ""


def test_progress_shows_label_percentage_and_times(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    terminal = attach_terminal(monkeypatch)
    monkeypatch.setenv("NO_COLOR", "1")
    with progress_bar("Scoring [b]rows[/b]") as update:
        update(1, 4)
        console().print("a log line")
        update(3, 4)
    shown = terminal.getvalue()
    assert "Scoring [b]rows[/b]" in shown
    assert "75%" in shown
    assert shown.count("0:00:00") >= 1
    assert "a log line" in shown


def test_progress_ends_when_the_block_raises(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = attach_terminal(monkeypatch)

    def interrupted() -> None:
        with progress_bar("Scoring") as update:
            update(1, 2)
            raise ValueError("broken")

    with pytest.raises(ValueError, match="broken"):
        interrupted()
    assert terminal.getvalue().endswith("\x1b[?25h")  # the cursor is shown again


def test_fail_prints_one_line_to_stderr(capsys: pytest.CaptureFixture[str]) -> None:
    fail("data.jsonl:3: expected\n  a [bold]string\x1b[2J " + "x" * 200)
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err == (
        r"assay: error: data.jsonl:3: expected a [bold]string\x1b[2J "
        + "x" * 200
        + "\n"
    )
