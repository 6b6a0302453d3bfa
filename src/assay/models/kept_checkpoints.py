"""Checkpoints that are kept as model folders, which ``assay evaluate`` can load."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from assay.models.language_model import LanguageModel
from assay.models.load import save_model
from assay.models.tune_folder import DONE
from assay.util.files import write_json

# Named as the Trainer of transformers names them.
_NAME = re.compile(r"checkpoint-(\d+)")


def kept_checkpoints(out: Path) -> dict[int, Path]:
    """List the checkpoints that a run has kept in its folder, by their step.

    Folders that no run of ours wrote are none, whatever they are called.
    """
    found = {}
    for path in out.iterdir() if out.is_dir() else ():
        name = _NAME.fullmatch(path.name)
        if name and _step_of(path) == int(name[1]):
            found[int(name[1])] = path
    return dict(sorted(found.items()))


def keep_checkpoint(
    lm: LanguageModel, out: Path, about: Mapping[str, Any], step: int, most: int
) -> None:
    """Save the model as it is after a step, and remove the oldest beyond ``most``.

    Args:
        lm: The model.
        out: Folder of the run.
        about: The run, as its folder notes it.
        step: Optimiser steps done.
        most: Checkpoints to keep, at least one.

    Raises:
        AssayError: The folder cannot be written.
    """
    path = out / f"checkpoint-{step}"
    save_model(lm, path)
    # Of this run, and not what it ends with: it must not be taken for that.
    write_json(path / DONE, {**about, "key": f"{about['key']}@{step}", "step": step})
    for old in list(kept_checkpoints(out).values())[:-most]:
        shutil.rmtree(old, ignore_errors=True)


def forget_after(out: Path, step: int) -> None:
    """Remove checkpoints of later steps, which are another run's or made anew."""
    for at, path in kept_checkpoints(out).items():
        if at > step:
            shutil.rmtree(path, ignore_errors=True)


def _step_of(path: Path) -> int | None:
    try:
        noted = json.loads((path / DONE).read_text(encoding="utf-8"))
        return int(noted["step"])
    except (OSError, ValueError, KeyError, TypeError):
        return None
