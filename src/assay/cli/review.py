"""``assay review``: a person looks at the suspects and decides."""

from __future__ import annotations

import logging
import sys
from collections import Counter
from pathlib import Path
from shlex import quote
from typing import TYPE_CHECKING, Annotated

import typer
from rich.text import Text

from assay.cli import options as o
from assay.cli.config import read_yaml
from assay.cli.console import console, safe
from assay.cli.generated import with_settings
from assay.errors import AssayError
from assay.util.escape import visible

if TYPE_CHECKING:
    from assay.data.corpus import Corpus
    from assay.runs.decisions import Decision
    from assay.runs.suspects import Suspect

log = logging.getLogger("assay")

KEYS = {"k": "keep", "r": "remove", "u": "unsure", "b": "back", "q": "quit"}
# Characters of a text that are shown, around the trigger.
LONGEST = 2000
BEFORE = 500


def _lines(text: str) -> str:
    return "\n".join(map(visible, text.replace("\r\n", "\n").split("\n")))


def marked(text: str, places: tuple[tuple[int, int], ...]) -> Text:
    """Show untrusted text with places marked, without colour, too."""
    start = 0
    if len(text) > LONGEST and places:
        start = max(0, min(places[0][0] - BEFORE, len(text) - LONGEST))
    stop = min(len(text), start + LONGEST)
    shown = Text(f"[{start} characters] …" if start else "")
    at = start
    for left, right in places:
        if not at <= left < right <= stop:
            continue
        shown.append(_lines(text[at:left]))
        shown.append(f"»{_lines(text[left:right])}«", style="bold reverse")
        at = right
    shown.append(_lines(text[at:stop]))
    if stop < len(text):
        shown.append(f"… [{len(text) - stop} more characters]")
    return shown


def _block(name: str, text: Text) -> None:
    # The bar in front keeps a line of the text from passing for one of ours.
    out = console()
    out.print(f"  [dim]{name}[/]")
    for line in text.wrap(out, max(20, out.width - 6)):
        out.print(Text("  │ ") + line, soft_wrap=True)


def reason_for(suspect: Suspect) -> str:
    """Say why a row is shown."""
    if not suspect.trigger:
        return "flagged for its score" if suspect.flagged else "only its score is high"
    trigger, payload = f"»{suspect.trigger}«", f"»{suspect.payload[:60]}«"
    words = f"{trigger}, a verified trigger of {payload}"
    if not suspect.verified:
        words = f"{trigger}, strong words for {payload}, not flagged"
    elif not suspect.flagged:
        words += ", but answers otherwise: not flagged"
    if suspect.effect is not None and suspect.p_value is not None:
        words += (
            f"; on other rows they add {suspect.effect:.1f} nats to it, "
            f"p = {suspect.p_value:.2g}"
        )
    return f"carries {words}"


def show(suspect: Suspect, number: int, total: int, decision: str) -> None:
    """Print one suspect."""
    out = console()
    out.print()
    out.print(
        f"[bold]{number} of {total}[/]: row {suspect.row}, id {safe(suspect.id)}, "
        f"rank {suspect.rank}, score {suspect.score:.2f}"
        + (", [bold red]flagged[/]" if suspect.flagged else "")
        + (f", decided: [bold]{decision}[/]" if decision else "")
    )
    if suspect.instruction:
        _block("instruction", marked(suspect.instruction, ()))
    _block("text", marked(suspect.text, suspect.places))
    _block("response", marked(suspect.response, ()))
    out.print(Text(f"  why: {visible(reason_for(suspect))}"))


def _asked() -> str:
    """Ask for one key, or where stdin is no terminal, for a line."""
    out = console()
    prompt = ", ".join(f"[bold]{key}[/] {name}" for key, name in KEYS.items()) + "? "
    typed = sys.stdin.isatty()
    while True:
        out.print(prompt, end="" if typed else "\n")
        try:
            answer = typer.getchar() if typed else sys.stdin.readline()
        except EOFError:
            answer = ""
        choice = KEYS.get(answer.strip().lower()[:1] or ("q" if not answer else ""))
        if choice is not None:
            out.print(choice)
            return choice
        out.print(f"no such key: {safe(answer.strip()[:20])}")


def _walk(
    listed: list[Suspect], decisions: dict[str, Decision], path: Path, again: bool
) -> None:
    from assay.runs.decisions import decide, write_decisions

    def following(at: int) -> int:
        while not again and at < len(listed) and listed[at].id in decisions:
            at += 1
        return at

    at = following(0)
    while at < len(listed):
        suspect = listed[at]
        earlier = decisions.get(suspect.id)
        show(suspect, at + 1, len(listed), earlier.decision if earlier else "")
        choice = _asked()
        if choice == "quit":
            break
        if choice == "back":
            at = max(0, at - 1)
            continue
        # The latest comes last.
        decisions.pop(suspect.id, None)
        decisions[suspect.id] = decide(
            suspect.id, suspect.row, choice, suspect.text, suspect.response
        )
        write_decisions(path, decisions.values())
        at = following(at + 1)


def _data(
    run: Path, input: str | None, reading: o.Reading
) -> tuple[str | None, Corpus | None]:
    """Find the data of a run: the name of the input, and its rows if at hand."""
    from assay.runs.folder import read_config

    config = read_config(run) or {}
    if input is not None:
        return input, o.read(input, reading)
    saved = run / "options.yaml"
    options = read_yaml(saved) if saved.is_file() else {}
    columns = options.get("map")
    source = str(options.get("input") or config.get("input") or "")
    if not source or not Path(source).exists():
        log.warning(
            "%s is not here: only flagged rows can be shown; give --input", source
        )
        return source or None, None
    try:
        reading = o.Reading(
            str(options.get("format") or config.get("format")),
            tuple(str(c) for c in columns) if isinstance(columns, list) else (),
            str(options.get("split", "train")),
            bool(options.get("skip-bad-rows")),
            options.get("response-marker"),
        )
        corpus = o.read(source, reading)
        if corpus.content_hash() != config.get("data"):
            raise AssayError(f"{source} has changed since the scan")
    except AssayError as error:
        log.warning("%s: only flagged rows can be shown; give --input", error)
        return source, None
    return source, corpus


@with_settings
def review_command(
    run: Annotated[Path, typer.Argument(help="Run folder of a scan.")],
    input: Annotated[
        str | None,
        typer.Option(help="The data that were scanned, where they are no more."),
    ] = None,
    most: Annotated[
        int | None,
        o.number(
            "most", "--most", "Rows to show; by default the flagged ones and 20 more."
        ),
    ] = None,
    again: Annotated[
        bool, typer.Option("--again", help="Show rows decided already, too.")
    ] = False,
    export: Annotated[
        Path | None,
        typer.Option(help="Write them as CSV for Argilla or Label Studio, and end."),
    ] = None,
    overwrite: Annotated[
        bool, o.overwriting("the file of --export if it is there")
    ] = False,
    reading: o.ReadingOptions = o.Reading(),
) -> None:
    """Decide about the suspects of a scan, one after the other, by one key each.

    Flagged rows come first, by rank, then rows with a finding's words that are not
    flagged, then the highest scores. Decisions are kept in RUN/decisions.jsonl as
    they are made; the same command goes on where you stopped. Where stdin is no
    terminal, each line is a key.
    """
    from assay.runs.decisions import read_decisions, row_hash
    from assay.runs.folder import files_of
    from assay.runs.results import read_scores
    from assay.runs.suspects import export as write_csv
    from assay.runs.suspects import suspects
    from assay.util.files import check_outputs

    path = run / "decisions.jsonl"
    if export is not None:
        read = [input, path, *files_of(run)]
        check_outputs([export], read, overwrite=overwrite)
    known: dict[str, str | None] = dict.fromkeys(read_scores(run, ["id"])["id"])
    source, corpus = _data(run, input, reading)
    listed = suspects(run, corpus, most)
    rows = corpus.examples if corpus is not None else listed
    known |= {r.id: row_hash(r.text, r.response) for r in rows}
    if export is not None:
        check_outputs([export], [source], overwrite=overwrite)
    decisions = read_decisions(path, known) if path.exists() else {}
    out = console()
    if export is not None:
        changed = write_csv(export, listed, decisions)
        out.print(f"{len(listed)} rows: {safe(str(export))}")
        if changed:
            out.print(
                f"{changed} of them have a cell that a spreadsheet would run as a "
                "formula; it begins with ' now"
            )
        return
    _walk(listed, decisions, path, again)
    counts = Counter(d.decision for d in decisions.values())
    left = sum(s.id not in decisions for s in listed)
    out.print()
    out.print(
        f"{counts['remove']} remove, {counts['keep']} keep, {counts['unsure']} unsure; "
        f"{left} of the {len(listed)} rows to look at are undecided"
    )
    place = safe(quote(str(run)))
    if left:
        out.print(f"go on with: assay review {place}", soft_wrap=True)
    if decisions:
        out.print(
            f"next: assay clean {safe(quote(source or 'INPUT'))} --run {place} "
            f"--decisions {safe(quote(str(path)))}",
            soft_wrap=True,
        )
