"""The command line: one command a file."""

from __future__ import annotations

import logging
import os
import sys
from io import TextIOWrapper
from typing import Annotated, TextIO

import typer

from assay.cli import (
    attack,
    clean,
    demo,
    evaluate,
    plan,
    pool,
    report,
    reproduce,
    review,
    scan,
    tune,
)
from assay.cli.console import ConsoleHandler, fail, set_quiet
from assay.errors import AssayError
from assay.util.crash import explain, is_out_of_memory
from assay.util.version import VERSION

# Bars of libraries would write across ours, and into logs.
os.environ.setdefault("TQDM_DISABLE", "1")

FAILED = 2
INTERRUPTED = 130

app = typer.Typer(
    name="assay",
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command("scan")(scan.scan_command)
app.command("plan")(plan.plan_command)
app.command("review")(review.review_command)
app.command("report")(report.report_command)
app.command("clean")(clean.clean_command)
app.command("tune")(tune.tune_command)
app.command("evaluate")(evaluate.evaluate_command)
app.command("pool")(pool.pool_command)
app.command("attack")(attack.attack_command)
app.command("demo")(demo.demo_command)
app.command("reproduce")(reproduce.reproduce_command)


def _version(asked: bool) -> None:
    if asked:
        print(f"assay {VERSION}")
        raise typer.Exit()


@app.callback()
def _options(
    version: Annotated[
        bool,
        typer.Option(
            "--version", callback=_version, is_eager=True, help="Show the version."
        ),
    ] = False,
) -> None:
    """Find poisoned examples in instruction fine-tuning data, and remove them.

    Exit status: 0 nothing found, 1 something found, 2 an error.
    """
    set_quiet(False)
    log = logging.getLogger("assay")
    log.handlers = [ConsoleHandler()]
    log.propagate = False
    log.setLevel(logging.INFO)


def _invoke(words: list[str]) -> int:
    """Parse the words of a command and run it.

    Typer's own way to do that turns a broken pipe into exit status 1, which would say
    that rows are flagged, and the end of a file into an interruption.
    """
    command = typer.main.get_command(app)
    try:
        if not words:
            # Nothing has been done, and nothing has been found clean.
            context = command.make_context("assay", [], resilient_parsing=True)
            print(context.get_help(), file=sys.stderr)
            return FAILED
        with command.make_context("assay", words) as context:
            found = command.invoke(context)
    except typer.Exit as asked:
        return asked.exit_code
    return found if isinstance(found, int) else 0


def run(arguments: list[str] | None = None) -> int:
    """Run a command and return the exit status; errors end in one line."""
    words = sys.argv[1:] if arguments is None else list(arguments)
    try:
        status = _invoke(words)
        # Nobody has read a result that is still to be written.
        if sys.stdout is not None:
            sys.stdout.flush()
    except (KeyboardInterrupt, typer.Abort):
        fail("interrupted; the same command goes on from what is finished")
        return INTERRUPTED
    except AssayError as error:
        fail(str(error))
    # A library that ends the process would choose the exit status, too.
    except (Exception, SystemExit) as error:
        fail(_told(error, words))
    else:
        return status
    return FAILED


def _told(error: BaseException, words: list[str]) -> str:
    """Say in one line what has happened."""
    # Usage errors are of the option parser's own types.
    shown = getattr(error, "format_message", None)
    if shown is not None:
        return f"{shown()} (see assay --help)"
    if isinstance(error, BrokenPipeError):
        return "the reader of the output closed it before everything was written"
    if (
        isinstance(error, OSError)
        and error.strerror is not None
        and not is_out_of_memory(error)
    ):
        place = f"{error.filename}: " if error.filename else ""
        return f"{place}{error.strerror}"
    return explain(error, words)


def _let_go(stream: TextIO) -> None:
    """Give up what a stream could not write, or Python tries again, and exits 120."""
    try:
        stream.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


def main() -> None:
    """Entry point of ``assay``."""
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None:
            # Closed by the caller.
            setattr(sys, name, open(os.devnull, "w"))  # noqa: SIM115
        elif isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    status = run()
    for stream in (sys.stdout, sys.stderr):
        _let_go(stream)
    if int(os.environ.get("WORLD_SIZE", "1")) > 1:
        # Gloo's threads now and then abort a process on its ordinary way out, which
        # a launcher takes for a crash.
        logging.shutdown()
        os._exit(status)
    sys.exit(status)
