"""What nobody foresaw: keeping the traceback, and saying in one line what happened."""

from __future__ import annotations

import errno
import os
import sys
import tempfile
import traceback
from collections.abc import Sequence
from pathlib import Path

from assay.util.escape import visible
from assay.util.messages import reason, shortened

# A note on an exception, which says where its traceback has been kept.
_KEPT = "assay has kept the full traceback in "
# Characters of an exception's own message in ours.
LONGEST = 200
# What libraries say where there is no memory and the exception's type does not tell.
_NO_MEMORY = (
    "out of memory",
    "can't allocate memory",
    "not enough memory",
    "cannot allocate memory",
    "alloc_failed",
)
# What gloo says in one process when another has gone.
_GONE = ("connection closed by peer", "connection reset by peer", "broken pipe")
LOWER = {
    "scan": "--token-budget, --max-length or --rank, or give --checkpointing or "
    "--bf16; assay plan says what is needed",
    "tune": "--batch-size (and raise --accumulation) or --max-length, or give "
    "--gradient-checkpointing or --bf16",
    "evaluate": "--max-length, or give --bf16",
    "demo": "the size of the model with --fast",
}
LOWER["plan"] = LOWER["scan"]


def kept_in(error: BaseException, path: Path) -> None:
    """Note on an exception where its traceback has been kept."""
    error.add_note(f"{_KEPT}{path}")


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an exception says that there is no memory left, on whatever device."""
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":
        return True
    if isinstance(error, OSError):
        return error.errno == errno.ENOMEM
    text = _said(error).lower()
    return isinstance(error, RuntimeError) and any(w in text for w in _NO_MEMORY)


def explain(error: BaseException, words: Sequence[str]) -> str:
    """Say in one line what an unforeseen exception is, and keep its traceback.

    Args:
        error: The exception.
        words: Words of the command, its name first.
    """
    kind, said = type(error).__name__, shortened(_said(error), LONGEST)
    what = f"{kind}: {said}" if said else kind
    command = words[0] if words else ""
    if is_out_of_memory(error):
        lower = LOWER.get(command)
        advice = f"lower {lower}" if lower else "the data do not fit"
        return f"out of memory ({what}); {advice}"
    if isinstance(error, ModuleNotFoundError) and not (
        error.name or "assay"
    ).startswith("assay"):
        return f"a package is missing ({said}); install assay with its dependencies"
    alone = int(os.environ.get("WORLD_SIZE", "1")) < 2
    if not alone and any(words in said.lower() for words in _GONE):
        return f"another process of this command has ended ({what}); see what it said"
    return f"a fault of assay, not of yours: {what}; {_keep(error, words)}"


def _said(error: BaseException) -> str:
    try:
        return " ".join(str(error).split())
    except Exception:
        # The exception's own __str__ may be what is wrong.
        return ""


def _keep(error: BaseException, words: Sequence[str]) -> str:
    """Keep a traceback, unless that has been done, and say where."""
    notes = getattr(error, "__notes__", [])
    places = [n.removeprefix(_KEPT) for n in notes if n.startswith(_KEPT)]
    if not places:
        try:
            places = [_written(error, words)]
        except (OSError, MemoryError, RecursionError) as failure:
            return (
                f"the full traceback could not be kept ({reason(failure)}): set TMPDIR "
                "to a folder that can be written, and run the command again"
            )
    return f"please report it with the full traceback, which is in {places[0]}"


def _written(error: BaseException, words: Sequence[str]) -> str:
    lines = [
        f"assay {' '.join(words)}",
        f"Python {sys.version}",
        *"".join(traceback.format_exception(error)).split("\n"),
    ]
    # Made anew, for the user alone to read: 0600.
    handle, name = tempfile.mkstemp(".txt", "assay-traceback-")
    with os.fdopen(handle, "w", encoding="utf-8") as file:
        file.writelines(f"{visible(line)}\n" for line in lines)
    return name
