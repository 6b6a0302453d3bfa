"""The command line: one command a file."""

from __future__ import annotations

import errno
import logging
import os
import sys
from typing import Annotated

import typer

import assay
from assay.cli import attack, clean, demo, evaluate, plan, report, review, scan, tune
from assay.cli.console import ConsoleHandler, fail, set_quiet
from assay.errors import AssayError

# Bars of libraries would write across ours, and into logs.
os.environ.setdefault("TQDM_DISABLE", "1")

INTERRUPTED = 130

app = typer.Typer(
    name="assay",
    no_args_is_help=True,
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
app.command("attack")(attack.attack_command)
app.command("demo")(demo.demo_command)


def _version(asked: bool) -> None:
    if asked:
        print(f"assay {assay.__version__}")
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


def run(arguments: list[str] | None = None) -> int:
    """Run a command and return the exit status; errors end in one line."""
    try:
        status = app(args=arguments, standalone_mode=False)
    except AssayError as error:
        fail(str(error))
        return 2
    except OSError as error:
        if error.errno == errno.EPIPE:
            return 0
        place = f"{error.filename}: " if error.filename else ""
        fail(f"{place}{error.strerror or error}")
        return 2
    except (KeyboardInterrupt, typer.Abort):
        status = INTERRUPTED
    except Exception as error:
        # Usage errors are of the option parser's own types.
        shown = getattr(error, "format_message", None)
        if shown is None:
            raise
        fail(f"{shown()} (see assay --help)")
        return 2
    # Typer, asked to return, turns an interruption into this status itself.
    if status == INTERRUPTED:
        fail("interrupted; the same command goes on from what is finished")
    return status if isinstance(status, int) else 0


def main() -> None:
    """Entry point of ``assay``."""
    status = run()
    if int(os.environ.get("WORLD_SIZE", "1")) > 1:
        # Gloo's threads now and then abort a process on its ordinary way out, which
        # a launcher takes for a crash.
        logging.shutdown()
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)
    sys.exit(status)
