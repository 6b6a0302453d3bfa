"""Texts of a data set, fit to be looked at."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypedDict

from assay.util.escape import visible

# Characters kept before the first marked place of a long text.
CONTEXT = 120


class Piece(TypedDict):
    """A part of a text, and whether it is to be marked."""

    text: str
    marked: bool


def shortened(text: str, most: int) -> str:
    """Return a text on one line, cut to so many characters."""
    line = " ".join(text[: 4 * most].split())
    cut = len(line) > most or len(text) > 4 * most
    return visible(line[: most - 1] + "…" if cut else line)


def pieces(text: str, spans: Sequence[tuple[int, int]], most: int) -> list[Piece]:
    """Cut a text at the spans to mark; what hides in it becomes visible.

    Args:
        text: The text.
        spans: Places to mark, in order.
        most: Characters to keep of a long text, from shortly before its first place.
    """
    start = 0
    if len(text) > most and spans:
        start = max(0, min(spans[0][0] - CONTEXT, len(text) - most))
    end = min(len(text), start + most)
    found: list[Piece] = []

    def add(piece: str, marked: bool) -> None:
        if piece:
            # Line ends are the one control that shows by itself.
            shown = "\n".join(map(visible, piece.split("\n")))
            found.append({"text": shown, "marked": marked})

    add("…" if start else "", False)
    place = start
    for first, last in spans:
        if first >= end:
            break
        add(text[place:first], False)
        add(text[max(first, place) : min(last, end)], True)
        place = max(place, min(last, end))
    add(text[place:end], False)
    add("…" if end < len(text) else "", False)
    return found
