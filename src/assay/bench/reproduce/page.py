"""``index.md``: our figures beside the paper's, built from the items' files."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from assay.bench.reproduce.items import ITEMS, Item
from assay.bench.reproduce.printed import PRINTED
from assay.bench.reproduce.reasons import GENERAL, REASONS
from assay.bench.reproduce.record import CHOSEN, Facts, Record, read_record
from assay.bench.reproduce.results import Unit
from assay.util.files import replacing

INDEX = "index.md"
# Tells a page of ours from anybody else's.
MARK = "<!-- written by assay reproduce from the JSON files beside it -->"
DASH = "–"


def write_page(folder: Path) -> Path:
    """Write the page of all items whose files are in a folder.

    Raises:
        AssayError: A file is none of ours, or the page cannot be written.
    """
    records = [
        read_record(folder / f"{item.name}.json")
        for item in ITEMS
        if (folder / f"{item.name}.json").is_file()
    ]
    plots = {p.name for p in folder.glob("*.png")}
    path = folder / INDEX
    with replacing(path) as partial:
        partial.write_text(page(records, plots), encoding="utf-8")
    return path


def is_own_page(path: Path) -> bool:
    """Whether a page was written by `write_page`."""
    try:
        return path.read_text(encoding="utf-8").startswith(MARK)
    except (OSError, UnicodeError):
        return False


def page(records: Sequence[Record], plots: set[str]) -> str:
    """Build the page.

    Args:
        records: The items, in the order of the paper.
        plots: Names of the plots that there are.
    """
    items = {item.name: item for item in ITEMS}
    blocks = [
        MARK,
        "# The paper's tables and figures, measured again",
        "Each table has our figures for both choices of test inputs beside what the "
        "paper prints. Nothing of ours is fitted to the paper's figures.",
        "Why they differ, wherever they do:",
        _listed(GENERAL),
    ]
    for record in records:
        blocks += _section(items[record.item], record, plots)
    missing = ", ".join(item.paper for item in ITEMS if not item.built)
    blocks += ["## Not yet", f"{missing}."]
    return "\n\n".join(blocks) + "\n"


def _section(item: Item, record: Record, plots: set[str]) -> list[str]:
    origin = record.provenance
    blocks = [
        f"## {item.paper}: {item.title}",
        _measured_on(record.facts),
        _table(record),
    ]
    if f"{item.name}.png" in plots:
        blocks.append(
            f"![{item.paper}, ours]({item.name}.png) ([SVG]({item.name}.svg))"
        )
    reasons = REASONS[item.name]
    blocks += ["Why ours differ:", _listed(reasons)]
    blocks.append(
        f"`{origin.command}`, seed {origin.seed}, {origin.code}, {origin.machine}, "
        f"{origin.time}. Files: [{item.name}.json]({item.name}.json), "
        f"[{item.name}.csv]({item.name}.csv)."
    )
    return blocks


def _measured_on(facts: Facts) -> str:
    return (
        f"{facts.rows:,} rows of {facts.data}, {facts.poisons} of them poisoned "
        f"({facts.poisons / facts.rows:.1%}); {facts.model}, scale {facts.scale}, "
        f"accuracy {facts.accuracy:.1%}, attack success {facts.attack_success:.1%} "
        f"({facts.payload_untriggered:.1%} without the trigger); at most "
        f"{facts.queries} test inputs."
    )


def _listed(sentences: Sequence[str]) -> str:
    return "\n".join(f"- {sentence}" for sentence in sentences)


def _table(record: Record) -> str:
    """Ours of each choice, and the paper's; what only one of them has shows a dash."""
    printed = {(p.measure, p.of): p for p in PRINTED[record.item]}
    ours = {
        choice: {(v.measure, v.of): v for v in values if not v.bar}
        for choice, values in record.values.items()
    }
    names = [name for values in ours.values() for name in values]
    head = ["measure", "of", *(CHOSEN[choice] for choice in ours), "printed"]
    lines = [_row(head), _row(["---"] * len(head))]
    for name in dict.fromkeys([*names, *printed]):
        found = [values.get(name) for values in ours.values()]
        unit = next((v.unit for v in found if v is not None), Unit.SHARE)
        cells = [shown(v.value, unit) if v is not None else DASH for v in found]
        theirs = printed.get(name)
        there = DASH
        if theirs is not None:
            there = f"{shown(theirs.value, unit)} ({theirs.where})"
        lines.append(_row([*name, *cells, there]))
    return "\n".join(lines)


def _row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def shown(value: float, unit: Unit) -> str:
    """Write a figure as its unit is read."""
    if unit == Unit.SHARE:
        return f"{100 * value:.1f} %"
    return f"{value:,.0f}" if unit == Unit.ROWS else f"{value:.3f}"
