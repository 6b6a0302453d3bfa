"""What a person should look at in a run, worst first."""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from assay.data.corpus import Corpus, Example
from assay.errors import AssayError
from assay.runs.cleaning import as_scanned
from assay.runs.decisions import Decision
from assay.runs.results import read_scores, read_summary
from assay.util.files import replacing
from assay.util.messages import reason
from assay.verify.finding import Finding, reported_in

# Rows shown besides the flagged ones, unless asked for more.
FURTHER = 20
COLUMNS = (
    "id",
    "row",
    "text",
    "response",
    "label",
    "decision",
    "rank",
    "score",
    "trigger",
    "payload",
    "p_value",
    "effect",
    "spans",
)
# What a spreadsheet takes for a formula, or skips before looking for one.
_FORMULA = re.compile(r"[\t\r\n]|[\s\0]*[=+\-@＝＋－＠]")


@dataclass(frozen=True)
class Suspect:
    """A row to look at, and why.

    Attributes:
        id: The row's identifier.
        row: Its 0-based position.
        rank: Its rank in the run, from 1.
        score: Its score by the run's detector.
        flagged: Whether the run would remove it.
        text: The input text.
        response: The response.
        instruction: The task text, where the data are at hand.
        trigger: Words it carries that were tested on the model; empty if none.
        payload: The response these words bring about.
        places: Where they are in the text, as ``(start, end)`` in characters.
        p_value: Their p-value after correction.
        effect: What they add to the payload's log-probability on other rows.
        verified: Whether the words are a verified trigger.
    """

    id: str
    row: int
    rank: int
    score: float
    flagged: bool
    text: str
    response: str
    instruction: str = ""
    trigger: str = ""
    payload: str = ""
    places: tuple[tuple[int, int], ...] = ()
    p_value: float | None = None
    effect: float | None = None
    verified: bool = False


def _flag(line: str, place: str) -> Suspect:
    try:
        found = json.loads(line)
        return Suspect(
            id=found["id"],
            row=int(found["row"]),
            rank=int(found["rank"]),
            score=float(found["score"]),
            flagged=True,
            text=str(found["text"]),
            response=str(found["response"]),
            trigger=str(found.get("trigger", "")),
            payload=str(found.get("payload", "")),
            places=tuple((int(a), int(b)) for a, b in found.get("spans", ())),
            p_value=float(found["p_value"]) if "p_value" in found else None,
            effect=float(found["effect"]) if "effect" in found else None,
            verified="trigger" in found,
        )
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise AssayError(
            f"{place}: not a flag of assay scan ({reason(error)}); scan again"
        ) from None


def _flags(run: Path) -> list[Suspect]:
    path = run / "flags.jsonl"
    try:
        lines = path.read_text(encoding="utf-8").split("\n")
    except (OSError, UnicodeDecodeError) as error:
        raise AssayError(f"{path}: cannot be read ({reason(error)})") from None
    return [
        _flag(line, f"{path}:{number}") for number, line in enumerate(lines, 1) if line
    ]


def suspects(
    run: Path, corpus: Corpus | None = None, most: int | None = None
) -> list[Suspect]:
    """List a run's suspects: flagged rows by rank, then further ones.

    Further rows, for which the data are needed, are first those that carry the words
    of a finding without being flagged, then those with the highest scores.

    Args:
        run: The run folder.
        corpus: The data that were scanned; without them only flagged rows are listed.
        most: The most rows; by default the flagged ones and 20 others.

    Raises:
        AssayError: The run is missing, damaged, or of other data.
    """
    summary = read_summary(run)
    table = read_scores(run)
    flagged = sorted(_flags(run), key=lambda s: s.rank)
    most = len(flagged) + FURTHER if most is None else most
    if corpus is None:
        return flagged[:most]
    corpus = as_scanned(corpus, run)
    reasons = {
        i: f
        for f in reversed(reported_in(summary))
        if isinstance(f, Finding) and f.experiment is not None
        for i in f.pattern_rows
    }
    column = f"score.{summary['detector']}"
    names = list(table["id"])
    instructions = {
        name: _instruction(e) for name, e in zip(names, corpus.examples, strict=True)
    }
    order = table["rank"].to_numpy().argsort()
    kept = [int(i) for i in order[~table["flagged"].to_numpy()[order]]]
    # Stable: within both kinds the order stays that of ranks.
    kept.sort(key=lambda i: i not in reasons)
    further = []
    for i in kept[: max(0, most - len(flagged))]:
        example = corpus.examples[i]
        suspect = Suspect(
            # As in the scan: decisions are about these.
            id=names[i],
            row=int(table["row"].iloc[i]),
            rank=int(table["rank"].iloc[i]),
            score=float(table[column].iloc[i]),
            flagged=False,
            text=example.text,
            response=example.response,
            instruction=_instruction(example),
        )
        if i in reasons:
            finding = reasons[i]
            suspect = replace(
                suspect,
                trigger=finding.trigger,
                payload=finding.tested.payload.text,
                places=tuple(finding.pattern.spans(example.text)),
                p_value=finding.p_value,
                effect=finding.tested.effect,
                verified=finding.is_verified,
            )
        further.append(suspect)
    flagged = [replace(s, instruction=instructions.get(s.id, "")) for s in flagged]
    return [*flagged, *further][:most]


def _instruction(example: Example) -> str:
    """Say what stands in front of the text: system prompt and instruction."""
    return "\n\n".join(p for p in (example.system, example.instruction) if p)


def guarded(cell: str) -> str:
    """Keep a spreadsheet from running a cell: an apostrophe makes it text."""
    return f"'{cell}" if _FORMULA.match(cell) else cell


def export(
    path: Path, listed: Sequence[Suspect], decisions: Mapping[str, Decision]
) -> int:
    """Write suspects as CSV, for annotation tools and spreadsheets.

    ``label`` is what the run suggests (``remove`` or ``keep``), ``decision`` what was
    decided, if anything; ``spans`` holds the trigger's places in the cell ``text`` as
    JSON. Cells that a spreadsheet would run as a formula begin with an apostrophe.

    Returns:
        How many rows have such a cell.

    Raises:
        AssayError: The file cannot be written.
    """
    changed = 0
    with (
        replacing(path) as partial,
        # A lone surrogate has no place in UTF-8.
        partial.open(
            "w", encoding="utf-8", errors="backslashreplace", newline=""
        ) as file,
    ):
        writer = csv.writer(file)
        writer.writerow(COLUMNS)
        for s in listed:
            shift = len(guarded(s.text)) - len(s.text)
            texts = {
                name: guarded(getattr(s, name))
                for name in ("id", "text", "response", "trigger", "payload")
            }
            changed += any(texts[name] != getattr(s, name) for name in texts)
            done = decisions.get(s.id)
            cells = {
                **texts,
                "row": s.row,
                "label": "remove" if s.flagged else "keep",
                "decision": done.decision if done else "",
                "rank": s.rank,
                "score": s.score,
                "p_value": s.p_value,
                "effect": s.effect,
                "spans": json.dumps([[a + shift, b + shift] for a, b in s.places]),
            }
            writer.writerow([cells[name] for name in COLUMNS])
    return changed
