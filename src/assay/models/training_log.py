"""What happened in each step of a tuning run: ``training.jsonl`` beside the model."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from assay.errors import AssayError
from assay.util.files import replacing

LOG = "training.jsonl"
# What a line has besides what an evaluation returns.
FIELDS = ("step", "epoch", "loss", "learning_rate", "validation_loss")

Line = dict[str, float | int | None]


@dataclass
class TrainingLog:
    """The lines of the log, of which a checkpoint keeps a copy.

    A run that goes on from a checkpoint goes on with that checkpoint's lines, so that
    its log is the one of a run that was never interrupted.

    Attributes:
        per_epoch: Optimiser steps in an epoch.
        lines: One a step, in order; the first may be of step 0, before training.
    """

    per_epoch: int
    lines: list[Line] = field(default_factory=list)

    def step(self, step: int, loss: float | None, rate: float) -> None:
        """Note a step.

        Args:
            step: Steps done with it; 0 is the untrained model.
            loss: Mean loss of the response tokens of its rows, before its update.
            rate: Learning rate.
        """
        epoch = round(step / self.per_epoch, 6)
        self.lines.append(
            {"step": step, "epoch": epoch, "loss": loss, "learning_rate": rate}
        )

    def evaluated(self, found: Mapping[str, float]) -> None:
        """Note what was measured after the last step that was noted.

        Raises:
            AssayError: A measure has the name of another field.
        """
        line = self.lines[-1]
        for name, value in found.items():
            if name in line:
                raise AssayError(f"evaluation: {name!r} is a field of {LOG} already")
            # JSON has no number that is none.
            line[name] = float(value) if math.isfinite(value) else None

    def write(self, folder: Path) -> None:
        """Write the log into the folder of the model, complete or not at all.

        Raises:
            AssayError: The file cannot be written.
        """
        with replacing(folder / LOG) as partial:
            partial.write_text(
                "".join(json.dumps(line) + "\n" for line in self.lines),
                encoding="utf-8",
            )
