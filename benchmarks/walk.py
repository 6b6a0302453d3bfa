"""Read what ``benchmarks/walk.sh`` printed and keep its commands and waits.

.venv/bin/python benchmarks/walk.py walk.log
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated

import typer
from provenance import HERE, provenance

from assay.util.files import write_json

COMMIT = re.compile(r"^\$ git rev-parse --short HEAD\n(\w+)$", re.MULTILINE)
STEP = re.compile(r"^\$ (.+?)$.*?^\[exit (\d+), (\d+) s\]$", re.MULTILINE | re.DOTALL)


def main(log: Annotated[Path, typer.Argument(help="Output of walk.sh.")]) -> None:
    text = log.read_text(encoding="utf-8")
    steps = [
        {"command": command, "exit": int(status), "seconds": int(seconds)}
        for command, status, seconds in STEP.findall(text)
    ]
    (walked,) = COMMIT.findall(text)
    result = {**provenance(), "commit": walked, "seed": 0, "steps": steps}
    write_json(HERE / "results" / "walk.json", result)


if __name__ == "__main__":
    typer.run(main)
