"""Write the result files' figures into README.md and docs, between their markers.

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
from grid_tables import grid, overview

HERE = Path(__file__).parent
README = HERE.parent / "README.md"
MEASURES = ("auroc", "average_precision", "precision", "recall", "f1")
ENGINE = HERE.parent / "docs" / "engine.md"
METHOD = HERE.parent / "docs" / "method.md"
ARCHITECTURES = HERE.parent / "docs" / "architectures.md"


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
    return [*lines, "", *knowing(results)]


def knowing(results: list[dict[str, Any]]) -> list[str]:
    """Markdown of the paper's rules with both choices of test inputs, side by side."""
    key = "detectors_knowing_the_trigger"
    if not all(key in r for r in results):
        return []
    lines = [
        "The paper's rules, with test inputs drawn at random, and with ones that carry "
        "the trigger, which is the paper's choice (section 3.4) and **needs knowledge "
        "of the trigger**:",
        "",
        "| rule | AUROC, random | precision | recall | AUROC, with the trigger | "
        "precision | recall |",
        "|---|---|---|---|---|---|---|",
    ]
    shown = ("auroc", "precision", "recall")
    for name in results[0][key]:
        sides = [
            spread([r[side][name][m] for r in results])
            for side in ("detectors", key)
            for m in shown
        ]
        lines.append(f"| {name} | {' | '.join(sides)} |")
    return [*lines, ""]


def detectors() -> list[str]:
    """Markdown of what the detectors find."""
    return [line for title, found in load().items() for line in tables(title, found)]


def read(name: str) -> dict[str, Any] | None:
    """One result file, if it is there."""
    path = HERE / "results" / name
    return json.loads(path.read_text(encoding="utf-8")) if path.exists() else None


def origin(result: dict[str, Any]) -> str:
    """Where a result comes from."""
    return f"`{result['command']}`, commit {result['commit']}; {result['machine']}."


def retraining() -> list[str]:
    """Markdown of the linear datamodeling scores."""
    result = read("lds.json")
    if result is None:
        return ["Not measured yet.", ""]
    lines = [
        f"{result['model']}; {result['dataset']}; {result['subsets']} random halves, "
        f"{result['retrainings_per_subset']} retrainings on each. {origin(result)}",
        "",
        "| attribution | linear datamodeling score ± standard error |",
        "|---|---|",
    ]
    for method, line in sorted(result["methods"].items(), key=lambda m: -m[1]["lds"]):
        lines.append(f"| {method} | {line['lds']:.3f} ± {line['standard_error']:.3f} |")
    return [*lines, ""]


def walk() -> list[str]:
    """Markdown of a first-time walk from a clean clone."""
    result = read("walk.json")
    if result is None:
        return ["Not measured yet.", ""]
    return [
        origin(result),
        "",
        "| command | exit status | seconds |",
        "|---|---|---|",
        *(
            f"| `{s['command']}` | {s['exit']} | {s['seconds']} |"
            for s in result["steps"]
        ),
        "",
    ]


STAGES = {
    "covariances": "covariances",
    "eigendecompositions": "eigendecompositions",
    "eigenvalues": "eigenvalues",
    "query_gradients": "gradients of 700 queries",
    "precondition": "preconditioning 7 sets",
    "scores": "scoring 256 rows, 7 sets",
    "features": "features",
    "scores_features": "scores and features together",
}
BARS = {
    "score_over_floor": ("scoring seven sets / floor", "≤ 1.5"),
    "score_features_over_floor": ("scoring and features / floor", "≤ 1.8"),
    "factors_over_floor": ("two factor passes / floor", "≤ 4"),
    "score_slope_per_query_over_floor": ("each further query set / floor", "≤ 0.03"),
    "score_1024_over_64_rows": ("scoring 1,024 rows / 64 rows", "16 is linear"),
    "kronfluence_seven_over_ours": ("kronfluence, seven calls / ours", "≥ 5"),
    "kronfluence_best_over_ours": ("kronfluence, fastest settings / ours", "≥ 2"),
    "kronfluence_job_over_ours": ("the same with factors / ours", "≥ 2"),
    "kronfluence_seven_rows_over_ours": ("its seven passes over the rows / ours", ""),
    "kronfluence_best_rows_over_ours": ("the same, fastest settings", ""),
}


def engine() -> list[str]:
    """Markdown of the engine benchmark."""
    result = read("engine.json")
    if result is None:
        return ["Not measured yet.", ""]
    kinds = result["dtype"]
    rule = "|---" * (len(kinds) + 1) + "|"

    def table(heading: str, rows: dict[str, list[str]]) -> list[str]:
        top = f"| {heading} | {' | '.join(kinds)} |"
        return [top, rule, *(f"| {n} | {' | '.join(c)} |" for n, c in rows.items()), ""]

    def seconds(side: str, stage: str) -> list[str]:
        found = [k.get(side, {}).get("seconds", {}).get(stage) for k in kinds.values()]
        return ["" if v is None else f"{v:.1f}" for v in found]

    times = {"floor": seconds("floor", "floor")}
    times |= {f"assay: {n}": seconds("ours", s) for s, n in STAGES.items()}
    memory = {}
    for side in ("floor", "ours", "kronfluence", "kronfluence-best"):
        shown = [k.get(side, {}).get("peak_rss_bytes") for k in kinds.values()]
        memory[side] = ["" if v is None else f"{v / 2**30:.1f}" for v in shown]
    for side in ("kronfluence", "kronfluence-best"):
        for stage in ("covariance", "eigendecomposition", "eigenvalues"):
            times[f"{side}: {stage}"] = seconds(side, stage)
        calls = [
            k.get(side, {}).get("seconds", {}).get("scores") for k in kinds.values()
        ]
        times[f"{side}: a score call (of those timed, mean)"] = [
            f"{np.mean(c):.1f} ({len(c)})" if c else "" for c in calls
        ]
    ratios = {
        f"{name} ({bar})" if bar else name: [
            f"{k['ratios'][key]:.3g}" if key in k.get("ratios", {}) else ""
            for k in kinds.values()
        ]
        for key, (name, bar) in BARS.items()
    }
    lines = [
        f"{result['model']}, {result['rows']} SST-2 rows, {result['query_sets']} query "
        f"sets of {result['queries_per_set']}. {origin(result)}",
        "",
        *table("ratio (bar)", ratios),
        *table("seconds", times),
        *table("peak memory, GiB", memory),
    ]
    # Entered by hand in the file: what a reader must know of how it came about.
    for remark in result.get("remarks", []):
        lines.append(f"- {remark}")
    lines.append("")
    low = [
        k["ours"]["low_rank"] for k in kinds.values() if "low_rank" in k.get("ours", {})
    ]
    if low:
        errors = ", ".join(
            f"{n} {v['relative_error_median']:.2f} (at most "
            f"{v['relative_error_max']:.2f})"
            for n, v in zip(kinds, low, strict=False)
        )
        lines += [
            f"{low[0]['queries']} individual queries at rank {low[0]['rank']} lose, of "
            f"the norm of their preconditioned gradient, in the median: {errors}.",
            "",
        ]
    return lines


def _positions(found: dict[str, Any]) -> str:
    if "takes" in found:
        return str(found["takes"])
    return "warned" if found.get("warned") else "no bound"


def _cell(text: str) -> str:
    """Text of libraries, so that it cannot end a table's cell or begin markup."""
    for mark in "\\`*_<>[]|":
        text = text.replace(mark, f"\\{mark}")
    return text


def architectures() -> list[str]:
    """Markdown of what happened to one tiny model of each architecture."""
    result = read("architectures.json")
    if result is None:
        return ["Not measured yet.", ""]
    every = result["outcomes"]
    groups: dict[str, dict[str, dict[str, Any]]] = {}
    for name, found in every.items():
        groups.setdefault(found["outcome"], {})[name] = found
    counts = ", ".join(f"{len(some)} {kind}" for kind, some in sorted(groups.items()))
    scanned = groups.get("scanned", {})
    worst = {
        error: max((s[f"{error}_error"] for s in scanned.values()), default=0.0)
        for error in ("loss", "gradient")
    }
    lines = [
        f"{len(every)} architectures: {counts}. Largest relative error of a row's loss "
        f"{worst['loss']:.0e}, of a layer's gradient {worst['gradient']:.0e}. "
        f"{origin(result)} transformers {result['versions']['transformers']}, seed "
        f"{result['seed']}.",
        "",
        "**Scanned**",
        "",
        "| architecture | built as | layers tracked | positions | left out |",
        "|---|---|---|---|---|",
    ]
    for name, found in scanned.items():
        left = [w.split("left out: ")[1] for w in found["warnings"] if "left out" in w]
        cells = [
            name,
            found["built"] + (f" ({found['notes']})" if found["notes"] else ""),
            str(found["layers"]),
            _positions(found["positions"]),
            left[0].split(" (--modules")[0] if left else "",
        ]
        lines.append(f"| {' | '.join(map(_cell, cells))} |")
    titles = {
        "refused": "Refused in one line",
        "cannot be built": "Cannot be built here",
        "FAULT": "Faults",
    }
    for kind, title in titles.items():
        if kind not in groups:
            continue
        lines += ["", f"**{title}**", "", "| architecture | why |", "|---|---|"]
        for name, found in groups[kind].items():
            told = found.get("line") or str(found.get("faults"))
            lines.append(f"| {_cell(name)} | {_cell(' '.join(told.split())[:300])} |")
    return [*lines, ""]


PAGES = {
    ARCHITECTURES: {"architectures": architectures},
    README: {"bars": overview, "results": detectors, "walk": walk},
    ENGINE: {"lds": retraining, "engine": engine},
    METHOD: {"grid": grid},
}


def rendered(page: Path) -> str:
    """A page with its results replaced by those of the files."""
    text = page.read_text(encoding="utf-8")
    for name, render in PAGES[page].items():
        body = "\n".join(["", *render()]) + "\n"
        block = re.compile(
            rf"(<!-- {name} -->\n).*?(<!-- end of {name} -->)", re.DOTALL
        )
        text, count = block.subn(lambda m, body=body: m[1] + body + m[2], text)
        if count != 1:
            raise ValueError(f"{page}: no markers for {name}")
    return text


if __name__ == "__main__":
    stale = False
    for page in PAGES:
        wanted = rendered(page)
        stale |= wanted != page.read_text(encoding="utf-8")
        if "--check" not in sys.argv:
            page.write_text(wanted, encoding="utf-8")
    sys.exit("--check" in sys.argv and stale)
