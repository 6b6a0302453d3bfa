"""The run folder: what a scan leaves behind, and reading it again."""

from __future__ import annotations

import json
import logging
import os
import platform
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import datetime
from itertools import count
from pathlib import Path
from typing import Any

import torch

from assay.errors import AssayError
from assay.util.crash import kept_in
from assay.util.escape import visible
from assay.util.messages import reason
from assay.util.version import VERSION

log = logging.getLogger("assay")

# What `assay evaluate --json` printed, put there by the user or the demonstration.
EVALUATION = "evaluation.json"
RESULTS = (
    "config.json",
    "summary.json",
    "scores.parquet",
    "flags.jsonl",
    "rows.parquet",
    "report.html",
    "options.yaml",
)
LOG = "log.txt"
FACTORS = "factors.safetensors"
# Folders of models that a scan tunes: first, and to decide by retraining.
PROXY = "proxy"
WITHOUT = "without"
# Not before the first line of a log says so does a scan write to it, or take a folder
# for its own.
CONFIG = "config.json"
LOG_HEADER = "# Written by assay: what it said while scanning into this folder."
# Differences between two runs that a message names.
NAMED = 3


def files_of(run: Path) -> list[Path]:
    """Files of a run that nothing but a scan replaces."""
    names = (*RESULTS, LOG, EVALUATION, FACTORS)
    return [run / name for name in names]


@contextmanager
def new_run() -> Iterator[Path]:
    """Make a run folder that nobody else has, ``runs/DATE`` in the working directory.

    Where the block raises before anything is written, the folder goes again.

    Raises:
        AssayError: It cannot be made.
    """
    name = datetime.now().strftime("%Y-%m-%d-%H%M%S")
    for number in count(1):
        path = Path("runs") / (name if number == 1 else f"{name}-{number}")
        try:
            path.mkdir(parents=True)
            break
        except FileExistsError:
            # Another scan began in the same second.
            continue
        except OSError as error:
            raise AssayError(
                f"{path}: cannot be written ({reason(error)}); name a run folder"
            ) from None
    try:
        yield path
    except BaseException:
        with suppress(OSError):
            path.rmdir()
        raise


def versions() -> dict[str, str]:
    """Versions a result depends on."""
    import sklearn
    import transformers

    return {
        "assay": VERSION,
        "python": platform.python_version(),
        "torch": torch.__version__,
        "transformers": transformers.__version__,
        "scikit-learn": sklearn.__version__,
    }


class _LogFormatter(logging.Formatter):
    """Lines of a log, with what is invisible in them made visible."""

    def __init__(self) -> None:
        super().__init__("%(asctime)s %(levelname)s %(message)s")

    def format(self, record: logging.LogRecord) -> str:
        lines = super().format(record).split("\n")
        return "\n".join(map(visible, lines))


@contextmanager
def logged(run: Path) -> Iterator[None]:
    """Keep a copy of the log in the run folder, with the traceback of a fault.

    Raises:
        AssayError: The folder cannot be written.
    """
    path = run / LOG
    try:
        run.mkdir(parents=True, exist_ok=True)
        with path.open("a", encoding="utf-8") as file:
            if not file.tell():
                file.write(LOG_HEADER + "\n")
        handler = logging.FileHandler(path, encoding="utf-8")
    except OSError as error:
        raise AssayError(f"{run}: cannot be written ({error.strerror})") from None
    handler.setFormatter(_LogFormatter())
    log.addHandler(handler)
    level = log.level
    log.setLevel(min(level or logging.INFO, logging.INFO))
    try:
        yield
    except AssayError:
        raise
    except Exception as error:
        # To the file alone: the caller decides what is said of it.
        handler.handle(
            log.makeRecord(
                *(log.name, logging.ERROR, __file__, 0, "a fault of assay", ()),
                (type(error), error, error.__traceback__),
            )
        )
        kept_in(error, path)
        raise
    finally:
        log.setLevel(level)
        log.removeHandler(handler)
        handler.close()


def read_config(run: Path) -> dict[str, Any] | None:
    """Read what a finished run was of; None where there is none."""
    try:
        config = json.loads((run / CONFIG).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    wanted = {"input", "model", "settings", "key"}
    return config if isinstance(config, dict) and wanted <= set(config) else None


def earlier_config(run: Path) -> dict[str, Any] | None:
    """Read what the run in a folder was of; None where there is no finished one.

    Raises:
        AssayError: The folder holds files of other origin that a run would replace,
            add to or delete.
    """
    config = read_config(run)
    own_log = _is_own_log(run / LOG)
    if config is not None:
        return config
    # A scan that was killed has its log, and perhaps some results, but no config.
    if own_log and not (run / CONFIG).is_file():
        return None
    for name in (*RESULTS, EVALUATION, FACTORS, PROXY, WITHOUT):
        if (run / name).exists():
            raise AssayError(
                f"{run / name}: not written by assay, and a scan would replace it; "
                "choose another --out"
            )
    return None


def _is_own_log(path: Path) -> bool:
    """Whether a scan has written a log here.

    Raises:
        AssayError: There is a file of another origin, to which nothing may be added.
    """
    if not os.path.lexists(path):
        return False
    try:
        # Killed right after it was made, a log is empty.
        if path.is_file() and not path.stat().st_size:
            return False
        if path.is_file():
            with path.open("rb") as file:
                first = file.readline(200).rstrip()
            if first == LOG_HEADER.encode():
                return True
    except OSError as error:
        raise AssayError(f"{path}: cannot be read ({reason(error)})") from None
    raise AssayError(
        f"{path}: not written by assay (its first line is not {LOG_HEADER!r}), and a "
        "scan would add to it; choose another --out, or rename that file"
    )


def refuse_other(run: Path, earlier: dict[str, Any], config: dict[str, Any]) -> None:
    """Refuse a folder that holds a run of other data or settings.

    Raises:
        AssayError: It does; the message names what differs.
    """
    if earlier["key"] == config["key"]:
        return
    before, now = (
        {
            "input": c["input"],
            "model": c["model"],
            "queries": c.get("queries"),
            **c["settings"],
            **{f"tuning {name}": v for name, v in (c.get("tuning") or {}).items()},
        }
        for c in (earlier, config)
    )
    changed = [
        f"{name} was {before.get(name)}, now {now.get(name)}"
        for name in {**now, **before}
        if before.get(name) != now.get(name)
        # What one of the two versions had no setting for does not tell them apart.
        and (name in earlier["settings"]) == (name in config["settings"])
    ]
    if before["input"] == now["input"] and earlier.get("data") != config["data"]:
        changed.insert(0, f"the rows of {now['input']} have changed")
    changed = changed or ["the files of the model or the version of assay"]
    more = f", and {len(changed) - NAMED} more" if len(changed) > NAMED else ""
    raise AssayError(
        f"{run}: holds a run of other data or settings "
        f"({'; '.join(changed[:NAMED])}{more}); choose another --out, or give "
        "--overwrite to replace it"
    )
