"""Items from a study: computed, written, and put on a page."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from assay.bench.reproduce.figure_1 import figure_1
from assay.bench.reproduce.items import Item
from assay.bench.reproduce.measured import Measured, run_study
from assay.bench.reproduce.page import INDEX, is_own_page, write_page
from assay.bench.reproduce.plots import FORMATS, INSTALL, can_plot, plot
from assay.bench.reproduce.provenance import provenance
from assay.bench.reproduce.record import Facts, Record, is_own
from assay.bench.reproduce.results import Result
from assay.bench.reproduce.section_3_4 import section_3_4
from assay.bench.reproduce.section_3_8 import section_3_8
from assay.bench.reproduce.study import Setup
from assay.bench.reproduce.table_3 import table_3
from assay.bench.reproduce.table_4 import table_4
from assay.bench.reproduce.table_5 import table_5
from assay.detectors.evidence import Evidence
from assay.paper_rules import DEFAULT_RULES, PaperRules
from assay.settings import Bars, silent
from assay.util.files import check_outputs

log = logging.getLogger("assay")

Compute = Callable[[Evidence, Sequence[int], PaperRules], Result]
COMPUTED: Mapping[str, Compute] = {
    "figure-1": figure_1,
    "table-3": table_3,
    "table-4": table_4,
    # The figure plots the table.
    "figure-3": table_3,
    "section-3.4": section_3_4,
    "table-5": table_5,
    "section-3.8": section_3_8,
}


def reproduce(
    items: Sequence[Item],
    setup: Setup,
    out: Path,
    bars: Bars = silent,
    *,
    overwrite: bool = False,
) -> Path:
    """Measure items, write their files, and the page of all that are in the folder.

    Args:
        items: What to reproduce; every one is built.
        setup: The study.
        out: Folder of the files.
        bars: Given a label, returns a progress bar.
        overwrite: Whether items of another study, or other files, may be replaced.

    Returns:
        The page.

    Raises:
        AssayError: A file may not be replaced, or the study cannot be run.
    """
    check_files(items, setup, out, overwrite=overwrite)
    plots = can_plot()
    if not plots and any(item.plotted for item in items):
        log.warning("no plots without matplotlib: %s", INSTALL)
    measured = run_study(setup, bars, overwrite=overwrite)
    facts = _facts(setup, measured)
    origin = provenance(setup.seed)
    for item in items:
        results = {
            choice: COMPUTED[item.name](evidence, measured.poisoned, DEFAULT_RULES)
            for choice, evidence in measured.evidence.items()
        }
        values = {choice: result.values() for choice, result in results.items()}
        Record(item.name, setup.key, facts, values, origin).write(out)
        if item.plotted and plots:
            plot(results, out / item.name)
        elif item.plotted:
            # Plots of other figures must not stand beside these.
            for kind in FORMATS:
                (out / f"{item.name}.{kind}").unlink(missing_ok=True)
    return write_page(out)


def files_of(item: Item) -> tuple[str, ...]:
    """Name the files that an item writes."""
    kinds = ("json", "csv", *(FORMATS if item.plotted else ()))
    return tuple(f"{item.name}.{kind}" for kind in kinds)


def check_files(
    items: Sequence[Item], setup: Setup, out: Path, *, overwrite: bool
) -> None:
    """Refuse to replace what is not of this very study, before any work.

    Raises:
        AssayError: A file is in the way.
    """
    for item in items:
        own = is_own(out / f"{item.name}.json", setup.key)
        check_outputs(
            [out / name for name in files_of(item)],
            [setup.sst2],
            overwrite=overwrite or own,
            folder=out,
        )
    index = out / INDEX
    check_outputs([index], [setup.sst2], overwrite=overwrite or is_own_page(index))


def _facts(setup: Setup, measured: Measured) -> Facts:
    before, study = measured.before, setup.study
    return Facts(
        study=study.name,
        scale=setup.scale.value,
        data=setup.data,
        model=setup.model.name,
        rows=study.rows,
        poisons=len(measured.poisoned),
        queries=study.query_count,
        accuracy=before["accuracy"],
        attack_success=before["attack_success_rate"],
        payload_untriggered=before["payload_rate_without_trigger"],
    )
