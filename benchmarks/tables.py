"""Write the result files' figures into README.md, between its markers.

.venv/bin/python benchmarks/tables.py          # rewrite
.venv/bin/python benchmarks/tables.py --check  # exit status 1 if they differ
"""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from typing import Any

import numpy as np

HERE = Path(__file__).parent
README = HERE.parent / "README.md"
MEASURES = ("auroc", "average_precision", "precision", "recall", "f1")
BLOCK = re.compile(r"(<!-- results -->\n).*?(<!-- end of results -->)", re.DOTALL)


def load() -> dict[str, list[dict[str, Any]]]:
    """Results of every model, by seed."""
    models: dict[str, list[dict[str, Any]]] = {}
    for path in sorted((HERE / "results").glob("detectors-*.json")):
        result = json.loads(path.read_text(encoding="utf-8"))
        models.setdefault(f"{result['model']}, {result['attack']}", []).append(result)
    return models


def spread(values: list[float], digits: int = 2) -> str:
    """Mean, and the range where there are several different values."""
    shown = [f"{v:.{digits}f}" for v in (np.mean(values), min(values), max(values))]
    return shown[0] if shown[1] == shown[2] else f"{shown[0]} ({shown[1]}–{shown[2]})"


def tables(title: str, results: list[dict[str, Any]]) -> list[str]:
    """Markdown of one model and attack."""
    first = results[0]
    lines = [
        f"**{title}**: {first['dataset']}, {first['rate']:.1%} of them poisoned, "
        f"seeds {', '.join(str(r['seed']) for r in results)}; "
        f"commit {', '.join(dict.fromkeys(r['commit'] for r in results))}; "
        f"{first['machine']}.",
        "",
        "| seed | trigger named | rows flagged | attack success before → after | "
        "without the trigger | accuracy before → after |",
        "|---|---|---|---|---|---|",
    ]
    for r in results:
        named = [f["trigger"] for f in r["findings"] if f["verified"]]
        before, after = r["before"], r["after"]

        def change(key: str, one: dict = before, two: dict | None = after) -> str:
            return f"{one[key]:.3f} → " + (f"{two[key]:.3f}" if two else "not measured")

        cells = [
            str(r["seed"]),
            ", ".join(named) or "none",
            f"{r['detectors']['assay scan']['flagged']:.0f}",
            change("attack_success_rate"),
            change("payload_rate_without_trigger"),
            change("accuracy"),
        ]
        lines.append(f"| {' | '.join(cells)} |")
    lines += [
        "",
        "| detector, at its own threshold | AUROC | average precision | precision | "
        "recall | F1 |",
        "|---|---|---|---|---|---|",
    ]
    names = sorted(
        first["detectors"],
        key=lambda n: -np.mean([r["detectors"][n]["f1"] for r in results]),
    )
    for name in names:
        cells = [spread([r["detectors"][name][m] for r in results]) for m in MEASURES]
        shown = f"**{name}**" if name == "assay scan" else name
        lines.append(f"| {shown} | {' | '.join(cells)} |")
    return [*lines, ""]


def rendered(readme: str) -> str:
    """README with its results replaced by those of the files."""
    lines = [""]
    for title, results in load().items():
        lines += tables(title, results)
    body = "\n".join(lines) + "\n"
    return BLOCK.sub(lambda m: m[1] + body + m[2], readme)


if __name__ == "__main__":
    text = README.read_text(encoding="utf-8")
    wanted = rendered(text)
    if "--check" in sys.argv:
        sys.exit(wanted != text)
    README.write_text(wanted, encoding="utf-8")
