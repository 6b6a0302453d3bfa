"""What a scan has found, for a terminal."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any

from rich.table import Table

from assay.cli.console import console, safe
from assay.util.messages import shortened

if TYPE_CHECKING:
    from assay.data.corpus import Corpus
    from assay.verify.finding import Finding, Found


# Lines of a small terminal, and of them for all but the findings and the rows: verdict,
# headings, next steps, the prompt, and lines that are broken.
SCREEN = 24
FRAME = 10
FEWEST = 5
# Characters of a trigger or payload.
WORDS = 40


def describe(found: Found) -> str:
    """Say in a few lines what a finding is, as markup."""
    from assay.verify.finding import Finding

    words = f"  {len(found.rows)} rows"
    if not isinstance(found, Finding):
        return words
    trigger = safe(shortened(found.trigger, WORDS))
    if found.experiment is None:
        return f"{words} sharing [bold]{trigger}[/], not tested"
    experiment, payload = found.experiment, found.experiment.payload
    low, high = experiment.interval
    verdict = (
        "[bold red]verified trigger[/]"
        if found.is_verified
        else "[yellow]strong words, not flagged:[/] their own rows do not need them"
    )
    more = ""
    if experiment.companions:
        also = safe(shortened(", ".join(experiment.companions), WORDS))
        more += f"    what stands with it, taken out too: {also}\n"
    if found.enough is not None:
        part = safe(shortened(found.enough, WORDS))
        more += f"    [bold]{part}[/] alone does as much\n"
    return (
        f"{words} with [bold]{trigger}[/]{found.pattern.where} {payload.verb} "
        f"[bold]{safe(shortened(payload.text, WORDS))}[/]: {verdict}\n"
        f"    put on other rows it adds {experiment.effect:.1f} nats "
        f"\\[{low:.1f}, {high:.1f}] to it; "
        f"placebos add {median(experiment.placebo_effects):z.1f}\n"
        f"    taken out of its own rows it costs {experiment.drop:z.1f}; "
        f"{experiment.prefers:.0%} of the others give in\n"
        f"{more}    {_decided(found)}"
    )


def _decided(finding: Finding) -> str:
    """Say what decided on a finding."""
    p_value = f"p = {finding.shown_p_value:.2g}"
    if finding.shortcut is not None:
        still, turned = finding.shortcut.still
        agrees, own = finding.shortcut.agrees
        decided = (
            f"of {turned} rows that it turns, a model tuned without its own turns "
            f"{still},\n    and that model agrees with {agrees} of its own {own}"
        )
        return decided + (f": a shortcut, {p_value}" if finding.is_verified else "")
    if finding.retraining is not None:
        contradicted, own = finding.retraining.contradicted
        decided = f"a model tuned without them contradicts {contradicted} of {own}"
        more = f": {p_value}, corrected for all patterns asked about"
        return decided + (more if finding.is_verified else "")
    placebos = len(finding.tested.placebo_effects)
    of_what = "" if finding.is_verified else "for that "
    return (
        f"{p_value} {of_what}among {placebos} placebos, "
        "corrected for all patterns tried"
    )


def describe_dismissed(dismissed: Sequence[Finding]) -> str:
    """Say in a line or two how many patterns came to nothing, and why."""
    from assay.verify.retraining import rows_are_right

    tested = sum(f.experiment is not None for f in dismissed)
    decided = [f.retraining for f in dismissed if f.retraining is not None]
    right = sum(map(rows_are_right, decided))
    lines = (
        f"  {tested} other patterns tested and dismissed: like placebos, or turning "
        "few rows"
    )
    if right:
        lines += (
            f",\n    or a model tuned without their rows agrees with them ({right})"
        )
    untested = len(dismissed) - tested
    if untested:
        lines += f"\n  {untested} more go with no response or phrase: not tested"
    return lines


def show_summary(summary: dict[str, Any], corpus: Corpus, run: Path) -> None:
    """Print verdict, findings and the highest-ranked rows to stderr.

    With one finding all of it fits a terminal of 24 lines and 80 columns.
    """
    import pandas as pd

    from assay.verify.finding import dismissed_in, reported_in

    out = console()
    style = {"poisoned": "bold red", "suspicious": "yellow"}.get(
        summary["verdict"], "green"
    )
    out.print(
        f"[{style}]{summary['verdict']}[/]: {summary['flagged']} of {summary['rows']} "
        f"rows flagged by {safe(summary['detector'])}"
        + (" (reusing earlier measurements)" if summary["reused"] else "")
    )
    told = [describe(found) for found in reported_in(summary)]
    dismissed = dismissed_in(summary)
    if dismissed:
        told.append(describe_dismissed(dismissed))
    for lines in told:
        out.print(lines)
    # Expanded: else rich takes from all columns alike where the text is too wide.
    table = Table(box=None, pad_edge=False, expand=True)
    for heading in ("rank", "row", "score", "", "text", "response"):
        # The text gives way first: what it belongs to must stay readable.
        wide = heading == "text"
        table.add_column(
            heading,
            no_wrap=True,
            overflow="ellipsis",
            ratio=1 if wide else None,
            min_width=None if wide else 4,
        )
    scores = pd.read_parquet(run / "scores.parquet").sort_values("rank")
    # Rows that are no examples have a place in the file, and none here.
    shown = {e.row: e for e in corpus.examples}
    column = f"score.{summary['detector']}"
    used = FRAME + sum(len(lines.split("\n")) for lines in told)
    for _, line in scores.head(max(FEWEST, SCREEN - used)).iterrows():
        example = shown[line["row"]]
        table.add_row(
            str(line["rank"]),
            str(line["row"]),
            f"{line[column]:.2f}",
            "flag" if line["flagged"] else "",
            safe(" ".join(example.text.split())[:200]),
            safe(" ".join(example.response.split())[:24]),
        )
    out.print(table)
