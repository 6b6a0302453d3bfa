"""The folder of a tuned model: which run it is of, and whether another may have it."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from assay.errors import AssayError
from assay.util.files import check_outputs, is_taken
from assay.util.messages import reason

CHECKPOINT = "checkpoint.pt"
DONE = "assay_tune.json"
# Differences between two runs that a message names.
NAMED = 3


def check_folder(
    out: Path, about: Mapping[str, Any], read: Sequence[str], *, overwrite: bool
) -> bool:
    """Make sure that a run may tune a model into a folder.

    Args:
        out: Folder for the tuned model.
        about: The run: its ``key``, the ``base`` that is tuned, and its ``settings``.
        read: Names of models and data that the run reads.
        overwrite: Whether another model or run in the folder may be replaced.

    Returns:
        Whether the folder holds the finished model of this very run.

    Raises:
        AssayError: The folder is read, or holds something that is read; it holds
            anything but this run, finished or not, and that may not be replaced; or
            what would tell is damaged.
    """
    # The model to tune and the data are never lost, not even to what a model is saved
    # to before it takes its place.
    place = out.resolve()
    beside = [place.with_name(f"{place.name}.partial")] if place.name else []
    check_outputs([out, *beside], read, overwrite=True)
    noted = _noted(out / DONE)
    if noted is not None and noted["key"] == about["key"]:
        return True
    if overwrite or not is_taken(out):
        return False
    state = checkpoint_state(out / CHECKPOINT, mmap=True)
    if state is not None and state["key"] == about["key"]:
        return False
    if noted is not None:
        held = f"holds a model of another run ({_differences(noted, about)})"
    elif state is not None:
        held = f"holds the checkpoint of another run ({CHECKPOINT})"
    else:
        held = "is not empty, and nothing in it is of this run"
    raise AssayError(
        f"{out}: {held}; name another --out, or give --overwrite to replace it"
    )


def checkpoint_state(path: Path, *, mmap: bool = False) -> dict[str, Any] | None:
    """Read a checkpoint; None where there is none.

    Args:
        path: The file.
        mmap: Leave the weights on disk until they are used.

    Raises:
        AssayError: It is damaged.
    """
    if not path.is_file():
        return None
    try:
        state = torch.load(path, weights_only=True, map_location="cpu", mmap=mmap)
        state["key"]
    except Exception as error:
        raise damaged(path, error) from error
    return dict(state)


def damaged(path: Path, error: Exception) -> AssayError:
    """Make the error of a checkpoint that cannot be gone on from."""
    return AssayError(
        f"{path}: damaged, or of another model ({reason(error, 200)}); delete it to "
        "start over"
    )


def _noted(marker: Path) -> dict[str, Any] | None:
    """Read what a finished run noted in its folder; None where none has finished."""
    if not marker.is_file():
        return None
    try:
        noted = json.loads(marker.read_text(encoding="utf-8"))
        noted["key"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise AssayError(
            f"{marker}: damaged ({error}); delete it to tune again"
        ) from error
    return dict(noted)


def _differences(noted: Mapping[str, Any], about: Mapping[str, Any]) -> str:
    """Say how a finished run was not the same."""
    settings = noted.get("settings")
    before = {"base model": noted.get("base")}
    before |= settings if isinstance(settings, dict) else {}
    now = {"base model": about["base"], **about["settings"]}
    changed = [
        f"{name} was {before.get(name)}, now {now[name]}"
        for name in now
        if before.get(name) != now[name]
    ]
    return "; ".join(changed[:NAMED]) or "of other data"
