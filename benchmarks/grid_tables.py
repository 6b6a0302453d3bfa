"""Tables of the grid's result files, and its bars."""

from __future__ import annotations

import json
from collections.abc import Callable, Hashable
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import numpy as np

HERE = Path(__file__).parent

Result = dict[str, Any]
K = TypeVar("K", bound=Hashable)
# Change the label, and have one trigger that is always the same.
PLAIN = ("dirty-label", "badnets", "addsent", "prefix", "suffix")


class Bar(NamedTuple):
    """What is asked for: attacks, least and largest rate, F1, is the trigger named?"""

    attacks: tuple[str, ...]
    least: float
    most: float
    f1: float
    named: bool = False

    def covers(self, r: Result) -> bool:
        """Whether it is about a cell."""
        return r["attack"] in self.attacks and self.least <= r["rate"] <= self.most

    @property
    def rates(self) -> str:
        """In per cent."""
        low, high = f"{100 * self.least:g}", f"{100 * self.most:g}"
        return f"{low} %" if low == high else f"{low} to {high} %"


BARS = (
    Bar(PLAIN, 0.01, 0.05, 0.97, named=True),
    Bar(PLAIN, 0.005, 0.005, 0.85),
    Bar(("composite",), 0.02, 0.05, 0.85),
    Bar(("clean-label",), 0.02, 0.05, 0.85),
    Bar(("adaptive",), 0.01, 0.05, 0.7),
    Bar(("fixed-output", "refusal", "appended"), 0.005, 0.05, 0.97),
)
# Rows of a data set.
ROWS = 1000
# Attacks that work are those that succeed this often and cost no more accuracy, as
# DESIGN.md has it: a model that gives one answer to everything is not attacked.
WORKS, COSTS = 0.9, 0.02
NAMED, SILENT, FLAGGED, SUCCESS, ACCURACY = 0.95, 0.95, 0.001, 0.03, 0.01


def load() -> list[Result]:
    """Results of all cells."""
    return [
        json.loads(path.read_text(encoding="utf-8"))
        for path in sorted((HERE / "results" / "grid").glob("*.json"))
    ]


def overview() -> list[str]:
    """Markdown of what the cells measured, a line for each bar, model and data set."""
    return _overview(load())


def _overview(found: list[Result]) -> list[str]:
    if not found:
        return ["Not measured yet.", ""]
    attacks = [r for r in found if "scan" in r]
    lines = [
        "| model, data | attack | rate | cells | F1 | asked for | trigger named | "
        "best other detector (F1) | attack success after | never poisoned |",
        f"{'|---' * 10}|",
    ]
    for where, cells in _by([r for r in attacks if r["attack_worked"]], _where).items():
        for bar in BARS:
            under = [r for r in cells if bar.covers(r)]
            if under:
                lines.append(_overview_line(where, under, bar))
        barless = [r for r in cells if not any(bar.covers(r) for bar in BARS)]
        for same in _grouped(barless).values():
            lines.append(_overview_line(where, same))
    failed = sum(not r["attack_worked"] for r in attacks)
    lines += [
        "",
        f"In {failed} {'cells' if failed != 1 else 'cell'} the attack failed; "
        f"{'they are' if failed != 1 else 'it is'} listed apart.",
        "",
        "| not poisoned | controls | runs | with a verified finding | suspicious | "
        "rows flagged |",
        "|---|---|---|---|---|---|",
    ]
    for where, cells in _by([r for r in found if "scan" not in r], _where).items():
        kinds = ", ".join(sorted({r["attack"] for r in cells}))
        wrong = sum(r["verdict"] == "poisoned" for r in cells)
        flagged = sum(r["flagged"] for r in cells)
        doubtful = sum(r["verdict"] == "suspicious" for r in cells)
        lines.append(
            f"| {where} | {kinds} | {len(cells)} | {wrong} | {doubtful} | {flagged} |"
        )
    return [*lines, ""]


def _overview_line(where: str, cells: list[Result], bar: Bar | None = None) -> str:
    rates = sorted({100 * r["rate"] for r in cells})
    mean = float(np.mean([r["scan"]["f1"] for r in cells]))
    f1 = f"**{mean:.2f}**" if bar and mean < bar.f1 else f"{mean:.2f}"
    shown = [
        where,
        ", ".join(sorted({r["attack"] for r in cells})),
        " to ".join(f"{r:g}" for r in dict.fromkeys((rates[0], rates[-1]))) + " %",
        str(len(cells)),
        f1,
        f"≥ {bar.f1}" if bar else "–",
        str(sum(r["trigger_named"] for r in cells)),
        _best_other(cells),
        _mean([(r["after"] or {}).get("attack_success_rate") for r in cells]),
        _mean([r["clean_attack_success_rate"] for r in cells]),
    ]
    return f"| {' | '.join(shown)} |"


def _where(r: Result) -> str:
    return f"{r['model']}, {r['dataset']}"


def _mean(values: list[float | None]) -> str:
    known = [v for v in values if v is not None]
    return f"{np.mean(known):.2f}" if known else "–"


def _best_other(cells: list[Result]) -> str:
    """The detector besides the scan with the largest mean F1."""
    names = [n for n in cells[0]["detectors"] if n != "assay scan"]
    by_name = {n: np.mean([r["detectors"][n]["f1"] for r in cells]) for n in names}
    best = max(names, key=lambda n: by_name[n])
    return f"{best} ({by_name[best]:.2f})"


def _summary(found: list[Result]) -> list[str]:
    """What was asked for and measured, a table for each model and data set."""
    where = _by(found, lambda r: f"{r['model']} on {r['dataset']}")
    if not where:
        return ["Not measured yet.", ""]
    lines = []
    for name, cells in sorted(where.items(), key=lambda w: -len(w[1])):
        commits = ", ".join(dict.fromkeys(r["commit"] for r in cells))
        seeds = ", ".join(map(str, sorted({r["seed"] for r in cells})))
        machines = "; ".join(dict.fromkeys(r["machine"] for r in cells))
        lines += [
            f"**{name}**: {len(cells)} {'cells' if len(cells) > 1 else 'cell'}, seeds "
            f"{seeds}; commit {commits}; {machines}.",
            "",
            *_bars(
                [r for r in cells if r["attack_worked"]],
                [r for r in cells if "scan" not in r],
            ),
        ]
    return lines


def grid() -> list[str]:
    """Markdown of the grid: one line for each attack, rate, model and data set."""
    found = load()
    lines = _summary(found)
    attacks = [r for r in found if "scan" in r]
    for title, worked in (("Attacks that worked", True), ("Attack failed", False)):
        groups = _grouped([r for r in attacks if r["attack_worked"] is worked])
        if groups:
            lines += [
                f"**{title}**{BARRED if worked else ''}; means over seeds.",
                "",
                "| model, data | attack | rate | seeds | attack success | scan F1 | "
                "trigger named | best other detector (F1) | attack success after | "
                "never poisoned | accuracy after | never poisoned |",
                f"{'|---' * 12}|",
                *(_attack_line(key, cells) for key, cells in groups.items()),
                "",
            ]
    groups = _grouped([r for r in found if "scan" not in r])
    if groups:
        lines += [
            "**Controls**, not poisoned.",
            "",
            "| model, data | control | seeds | runs with a verified finding | "
            "suspicious | rows flagged (mean) |",
            "|---|---|---|---|---|---|",
        ]
        for (where, attack, _), cells in groups.items():
            wrong = sum(r["verdict"] == "poisoned" for r in cells)
            mean = np.mean([r["flagged"] for r in cells])
            doubtful = sum(r["verdict"] == "suspicious" for r in cells)
            lines.append(
                f"| {where} | {attack} | {len(cells)} | {wrong} | {doubtful} | "
                f"{mean:.1f} |"
            )
        lines.append("")
    return lines


BARRED = (
    f" (attack success ≥ {WORKS}, accuracy no more than {100 * COSTS:.0f} points below "
    "the never poisoned)"
)
Key = tuple[str, str, float]


def _by(results: list[Result], key: Callable[[Result], K]) -> dict[K, list[Result]]:
    groups: dict[K, list[Result]] = {}
    for r in results:
        groups.setdefault(key(r), []).append(r)
    return groups


def _grouped(results: list[Result]) -> dict[Key, list[Result]]:
    groups = _by(results, lambda r: (_where(r), r["attack"], r["rate"]))
    return dict(sorted(groups.items()))


def _attack_line(key: Key, cells: list[dict[str, Any]]) -> str:
    after = [r["after"] or {} for r in cells]
    shown = [
        key[0],
        key[1],
        f"{key[2]:.1%}",
        str(len(cells)),
        _mean([r["attack_success_rate"] for r in cells]),
        _mean([r["scan"]["f1"] for r in cells]),
        f"{sum(r['trigger_named'] for r in cells)} of {len(cells)}",
        _best_other(cells),
        _mean([a.get("attack_success_rate") for a in after]),
        _mean([r["clean_attack_success_rate"] for r in cells]),
        _mean([a.get("accuracy") for a in after]),
        _mean([r["clean_accuracy"] for r in cells]),
    ]
    return f"| {' | '.join(shown)} |"


def _bars(worked: list[Result], controls: list[Result]) -> list[str]:
    """What was asked for, and what was measured over all attacks that worked."""

    def others(r: Result) -> float:
        found = [m["f1"] for n, m in r["detectors"].items() if n != "assay scan"]
        return float(max(found))

    asked: list[tuple[str, bool, str]] = []
    for bar in BARS:
        cells = [r for r in worked if bar.covers(r)]
        if cells:
            measured = [a for a in bar.attacks if any(r["attack"] == a for r in cells)]
            what = f"{', '.join(measured)} at {bar.rates} ({len(cells)} cells)"
            f1 = float(np.mean([r["scan"]["f1"] for r in cells]))
            asked.append((f"{what}: F1 ≥ {bar.f1}", f1 >= bar.f1, f"{f1:.3f}"))
            if bar.named:
                named = np.mean([r["trigger_named"] for r in cells])
                text = f"the same: trigger named exactly in ≥ {NAMED:.0%}"
                asked.append((text, bool(named >= NAMED), f"{named:.0%}"))
    if controls:
        silent = np.mean([r["verdict"] != "poisoned" for r in controls])
        flagged = np.mean([r["flagged"] for r in controls]) / ROWS
        runs = f"controls ({len(controls)} runs)"
        text = f"{runs}: no verified finding in ≥ {SILENT:.0%}"
        asked.append((text, bool(silent >= SILENT), f"{silent:.0%}"))
        text = f"{runs}: rows flagged ≤ {FLAGGED:.1%}"
        asked.append((text, bool(flagged <= FLAGGED), f"{flagged:.2%}"))
    after = [r for r in worked if r["after"]]
    if after:
        more = [
            r["after"]["attack_success_rate"] - r["clean_attack_success_rate"]
            for r in after
        ]
        lost = [r["clean_accuracy"] - r["after"]["accuracy"] for r in after]
        for text, values, limit, sign in (
            ("attack success ≤ 3 points above", more, SUCCESS, 1),
            ("accuracy ≤ 1 point below", lost, ACCURACY, -1),
        ):
            # A difference of 0.03 may be 0.0300…04.
            limit += 1e-9
            beyond = sum(v > limit for v in values)
            how = f"{100 * sign * np.mean(values):+.1f} points; not in {beyond} cells"
            what = (
                f"after removal ({len(after)} cells): {text} the never poisoned model's"
            )
            asked.append((what, bool(np.mean(values) <= limit), how))
    behind = [r for r in worked if others(r) > r["scan"]["f1"]]
    places = ", ".join(
        f"{a} {100 * rate:g}% ({len(cells)})"
        for (_, a, rate), cells in _grouped(behind).items()
    )
    text = f"no other detector has a larger F1 ({len(worked)} cells)"
    how = f"behind in {len(behind)}: {places}" if behind else "in none"
    asked.append((text, not behind, how))
    return [
        "| asked for | met | measured |",
        "|---|---|---|",
        *(
            f"| {what} | {'yes' if met else '**no**'} | {how} |"
            for what, met, how in asked
        ),
        "",
    ]
