"""Terminal output: logs and progress on stderr, and safe display of hostile text."""

from __future__ import annotations

import errno
import logging
import os
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cache
from typing import NoReturn

from rich.console import Console
from rich.markup import escape
from rich.progress import (
    BarColumn,
    Progress,
    TaskProgressColumn,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.text import Text

from assay.util.escape import visible
from assay.util.progress import Progress as Advance

_UNCLOSED_TAG = re.compile(r"\[(?=[a-z#/@][^\[\]]*\Z)")


class _Console(Console):
    def on_broken_pipe(self) -> NoReturn:
        # Rich ends the process with status 1, which would say that rows are flagged.
        raise BrokenPipeError(errno.EPIPE, os.strerror(errno.EPIPE))


def console() -> Console:
    """Return the console for logs and progress, which writes to stderr."""
    return _shared_console(sys.stderr.isatty(), bool(os.environ.get("NO_COLOR")))


def stdout() -> Console:
    """Return a console for tables on stdout; files and pipes get wide lines."""
    terminal = sys.stdout.isatty()
    return _Console(
        force_terminal=None if terminal else False,
        highlight=False,
        emoji=False,
        width=None if terminal else 160,
    )


def set_quiet(quiet: bool) -> bool:
    """Say nothing but errors from here on, or everything again."""
    console().quiet = quiet
    return quiet


class ConsoleHandler(logging.Handler):
    """Print log records through the shared console, so that bars stay whole."""

    def emit(self, record: logging.LogRecord) -> None:
        """Print one record as one line."""
        style = {"WARNING": "yellow", "ERROR": "red"}.get(record.levelname, "dim")
        line = visible(" ".join(record.getMessage().split()))
        console().print(
            Text.assemble((f"{record.levelname.lower()}: ", style), line),
            soft_wrap=True,
        )


@cache
def _shared_console(terminal: bool, no_color: bool) -> Console:
    # One console per setting: a second one would write across a live bar.
    return _Console(
        stderr=True,
        # False, not None: FORCE_COLOR must not put escape codes into a log file.
        force_terminal=None if terminal else False,
        no_color=no_color,
        highlight=False,
        emoji=False,
        soft_wrap=not terminal,
        width=None if terminal else 160,
    )


@contextmanager
def progress_bar(label: str) -> Iterator[Advance]:
    """Show a progress bar while the block runs, if stderr is a terminal.

    Args:
        label: What is being done, shown in front of the bar.

    Yields:
        A callback that takes the steps done and the total number of steps.
    """
    shared = console()
    if not shared.is_interactive or shared.quiet:
        yield lambda done, total: None
        return
    bar = Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        TaskProgressColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        console=shared,
        # One batch can take minutes on a CPU; the default of 30 s would drop it.
        speed_estimate_period=600,
    )
    with bar:
        task = bar.add_task(safe(label), total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)


def safe(text: str) -> str:
    """Make untrusted text fit to print inside rich markup.

    Control, bidi and other invisible characters become visible escapes, and
    nothing in the text is taken for markup, whatever is printed after it.
    """
    # A tag left open here could be closed by the text that follows.
    escaped = escape(_UNCLOSED_TAG.sub(r"\\x5b", visible(text)))
    # An odd number of backslashes would escape a tag that follows.
    backslashes = len(escaped) - len(escaped.rstrip("\\"))
    return escaped + "\\" * (backslashes % 2)


def fail(message: str) -> None:
    """Print an error message to stderr as one line."""
    line = visible(" ".join(message.split()))
    set_quiet(False)
    # Where nobody can hear it, the exit status has to do.
    with suppress(OSError, ValueError):
        console().print(
            Text.assemble(("assay: error:", "bold red"), f" {line}"), soft_wrap=True
        )
