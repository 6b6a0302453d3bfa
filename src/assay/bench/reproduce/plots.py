"""Plots of the items that the paper has as figures; needs ``assay[plots]``."""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from assay.bench.reproduce.figure_1 import Figure1, Histogram
from assay.bench.reproduce.printed import TABLE_3
from assay.bench.reproduce.results import Result
from assay.bench.reproduce.table_3 import Table3
from assay.settings import QueryChoice
from assay.util.files import replacing

if TYPE_CHECKING:
    from matplotlib.figure import Figure

FORMATS = ("png", "svg")
INSTALL = "pip install 'assay[plots]'"
TITLES = {
    QueryChoice.RANDOM: "random test inputs",
    QueryChoice.KEYWORDS: "with the trigger (needs knowledge of it)",
}
METRICS = ("precision", "recall", "f1", "accuracy")
# Of Okabe and Ito, told apart by readers of any colour vision.
COLOURS = ("#0072b2", "#e69f00", "#009e73", "#cc79a7")


def can_plot() -> bool:
    """Whether matplotlib is installed."""
    return importlib.util.find_spec("matplotlib") is not None


def plot(results: Mapping[QueryChoice, Result], stem: Path) -> list[Path]:
    """Plot an item for every choice of test inputs.

    Args:
        results: Choice to what was computed; all of one type, `Figure1` or `Table3`.
        stem: Path of the plots, without an ending.

    Returns:
        The files: PNG and SVG.

    Raises:
        AssayError: They cannot be written.
    """
    import matplotlib

    first = next(iter(results.values()))
    drawn = _figure_1(results) if isinstance(first, Figure1) else _figure_3(results)
    written = []
    # Texts stay texts, and the same figures give the same file.
    with matplotlib.rc_context({"svg.fonttype": "none", "svg.hashsalt": stem.name}):
        for kind in FORMATS:
            path = stem.with_name(f"{stem.name}.{kind}")
            with replacing(path) as partial:
                metadata = {"Date": None} if kind == "svg" else None
                drawn.savefig(partial, format=kind, dpi=150, metadata=metadata)
            written.append(path)
    return written


def _figure(rows: int, columns: int) -> tuple[Figure, Any]:
    # Without pyplot there is no window and no state of the process.
    from matplotlib.figure import Figure

    drawn = Figure(figsize=(4.5 * columns, 3.2 * rows), layout="constrained")
    return drawn, drawn.subplots(rows, columns, squeeze=False, sharey=True)


def _figure_1(results: Mapping[QueryChoice, Result]) -> Figure:
    """Histograms: a row of panels for each choice, before and after."""
    drawn, panels = _figure(len(results), 2)
    for line, (choice, result) in zip(panels, results.items(), strict=True):
        assert isinstance(result, Figure1)
        pairs: tuple[tuple[Histogram, str], ...] = (
            (result.before, "before"),
            (result.after, f"after {result.transform}"),
        )
        for panel, (histogram, name) in zip(line, pairs, strict=True):
            panel.stairs(
                histogram.counts, result.edges, fill=True, color=COLOURS[0], label="all"
            )
            panel.stairs(
                histogram.poisons,
                result.edges,
                fill=True,
                color=COLOURS[1],
                label="poisons",
            )
            # A few poisons would not be seen beside hundreds of rows.
            panel.set_yscale("symlog")
            panel.set_title(f"{name}: {TITLES[choice]}", fontsize=9)
            panel.set_xlabel("influence (the largest of any transform is 1)")
            panel.set_ylabel("rows")
            panel.legend()
    return drawn


def _figure_3(results: Mapping[QueryChoice, Result]) -> Figure:
    """Bars of Table 3: a panel for each choice, and one for what the paper prints."""
    tables: dict[str, dict[tuple[str, str], float]] = {}
    rules: list[str] = []
    for choice, result in results.items():
        assert isinstance(result, Table3)
        rules = [column.rule for column in result.rules]
        tables[TITLES[choice]] = {(v.measure, v.of): v.value for v in result.values()}
    tables["printed in the paper"] = {(p.measure, p.of): p.value for p in TABLE_3}
    drawn, panels = _figure(1, len(tables))
    width = 0.8 / len(METRICS)
    for panel, (title, values) in zip(panels[0], tables.items(), strict=True):
        for k, metric in enumerate(METRICS):
            places = [
                i + (k - (len(METRICS) - 1) / 2) * width for i in range(len(rules))
            ]
            heights = [100 * values.get((metric, rule), 0.0) for rule in rules]
            panel.bar(places, heights, width, label=metric, color=COLOURS[k])
        panel.set_xticks(range(len(rules)), rules)
        panel.set_title(title, fontsize=9)
        panel.set_ylabel("percent")
    handles, labels = panels[0][0].get_legend_handles_labels()
    drawn.legend(handles, labels, loc="outside lower center", ncols=len(labels))
    return drawn
