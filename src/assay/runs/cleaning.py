"""Splitting a corpus by the flags of a run that scanned the same rows."""

from __future__ import annotations

import logging
from collections import defaultdict, deque
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from assay.data.corpus import DIGEST, Corpus
from assay.errors import AssayError
from assay.runs.decisions import read_decisions, row_hash
from assay.runs.results import read_scores
from assay.util.messages import reason

log = logging.getLogger("assay")

UNSURE = ("flag", "keep", "remove")


def scanned_places(corpus: Corpus, run: Path) -> NDArray[np.int64]:
    """Find the row of a run that each example is, by its content.

    Rows may stand in another order than when they were scanned, and under other ids.

    Args:
        corpus: What was scanned.
        run: Its run folder.

    Returns:
        Positions in the run's tables, ``(N,)``.

    Raises:
        AssayError: The run is missing or damaged, or of other rows.
    """
    names, contents = _scanned(run)
    mine = [
        e.digest() if len(contents[0]) == DIGEST else row_hash(e.text, e.response)
        for e in corpus.examples
    ]
    if mine == contents and names == [e.id for e in corpus.examples]:
        return np.arange(len(mine))
    other = (
        f"{run}: its {len(contents)} rows are not those of {corpus.source} "
        f"({len(mine)} rows)"
    )
    places: dict[str, deque[int]] = defaultdict(deque)
    for place, content in enumerate(contents):
        places[content].append(place)
    # Of rows with the same content, those with the same id belong together.
    ids = {(c, n): i for i, (c, n) in enumerate(zip(contents, names, strict=True))}
    found = []
    for example, content in zip(corpus.examples, mine, strict=True):
        left = places[content]
        if not left:
            raise AssayError(
                f"{other}: row {example.row} (id {example.id!r}) was not scanned, or "
                "was another then; scan this file first"
            )
        own = ids.get((content, example.id), left[0])
        place = own if own in left else left[0]
        left.remove(place)
        found.append(place)
    if len(found) < len(contents):
        raise AssayError(f"{other}: some are missing in it; scan this file first")
    if found != sorted(found):
        log.warning("%s: rows are in another order than in the scan", corpus.source)
    return np.array(found)


def as_scanned(corpus: Corpus, run: Path) -> Corpus:
    """Put a corpus into the order in which it was scanned; see `scanned_places`."""
    return corpus.select(np.argsort(scanned_places(corpus, run)).tolist())


def _scanned(run: Path) -> tuple[list[str], list[str]]:
    """Read the ids and the contents of the rows of a run."""
    table = read_scores(run)
    if "content" in table:
        return list(table["id"]), list(table["content"])
    # Runs of earlier versions: text and response are all that they kept.
    path = run / "rows.parquet"
    try:
        rows = pd.read_parquet(path, columns=["id", "text", "response"])
    except Exception as error:
        raise AssayError(
            f"{path}: cannot be read ({reason(error)}); scan again"
        ) from None
    seen = zip(rows["text"], rows["response"], strict=True)
    return list(rows["id"]), [row_hash(text, said) for text, said in seen]


def clean(
    corpus: Corpus, run: Path, decisions: Path | None = None, unsure: str = "flag"
) -> tuple[Corpus, Corpus]:
    """Split a corpus into clean and removed rows by a run's flags.

    Args:
        corpus: What was scanned.
        run: Its run folder.
        decisions: File of ``assay review``; what it says of a row counts more than
            the flag.
        unsure: What becomes of rows that it calls unsure: ``flag`` (removed when
            flagged), ``keep`` or ``remove``.

    Raises:
        AssayError: The run or the decisions are missing, damaged, or of other data.
    """
    if unsure not in UNSURE:
        raise AssayError(f"unknown --unsure {unsure!r}; known: {', '.join(UNSURE)}")
    places = scanned_places(corpus, run)
    table = read_scores(run, ["id", "flagged"])
    removed = table["flagged"].to_numpy()[places]
    if decisions is not None:
        # Decisions bear the ids that the rows had when they were scanned.
        named = list(table["id"].iloc[places])
        place = {name: i for i, name in enumerate(named)}
        known: dict[str, str | None] = {
            name: row_hash(e.text, e.response)
            for name, e in zip(named, corpus.examples, strict=True)
        }
        for found in read_decisions(decisions, known).values():
            choice = unsure if found.decision == "unsure" else found.decision
            if choice != "flag":
                removed[place[found.id]] = choice == "remove"
    order = np.argsort([e.row for e in corpus.examples], kind="stable")
    # What is no example was not judged, and stays.
    taken = replace(corpus, left_out=())
    return (
        corpus.select(order[~removed[order]].tolist()),
        taken.select(order[removed[order]].tolist()),
    )
