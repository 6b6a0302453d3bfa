"""Stages of a study: each is run once, and noted when it is through."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from assay.errors import AssayError
from assay.util.files import write_json

log = logging.getLogger("assay")


@dataclass(frozen=True)
class Stages:
    """Where stages note that they are through, and of what.

    Attributes:
        folder: Folder of the study.
        key: Hash of everything that the stages depend on.
    """

    folder: Path
    key: str

    def run(self, name: str, work: Callable[[], None]) -> bool:
        """Run a stage, unless it is through.

        Args:
            name: Name of the stage.
            work: What it does; whatever it writes, it writes before it returns.

        Returns:
            Whether it was run.
        """
        marker = self._marker(name)
        if _noted(marker) == self.key:
            log.info("%s: done already in %s", name, self.folder)
            return False
        work()
        write_json(marker, {"stage": name, "key": self.key})
        return True

    def check(self, *, overwrite: bool) -> None:
        """Refuse a folder that holds something else, or forget what it holds.

        Args:
            overwrite: Whether it may be replaced.

        Raises:
            AssayError: It may not.
        """
        for marker in sorted(self.folder.glob("*.done.json")):
            if _noted(marker) == self.key:
                continue
            if not overwrite:
                raise AssayError(
                    f"{self.folder}: holds a study of other data, settings or version; "
                    "choose another --out, or give --overwrite to replace it"
                )
            marker.unlink()

    def _marker(self, name: str) -> Path:
        return self.folder / f"{name}.done.json"


def _noted(marker: Path) -> str | None:
    """Of what a stage is through; None where it is not, or says nothing readable."""
    try:
        return str(json.loads(marker.read_text(encoding="utf-8"))["key"])
    except (OSError, ValueError, KeyError, TypeError):
        return None
