"""What somebody decided about rows: a file that grows while they review."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, fields
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from assay.errors import AssayError
from assay.util.files import replacing
from assay.util.messages import reason

CHOICES = ("keep", "remove", "unsure")


@dataclass(frozen=True)
class Decision:
    """What becomes of a row.

    Attributes:
        id: The row's identifier.
        row: Its 0-based position.
        decision: ``keep``, ``remove`` or ``unsure``.
        when: Time of the decision, ISO 8601.
        content: Hash of what was looked at, so that it is not taken for another row.
    """

    id: str
    row: int
    decision: str
    when: str
    content: str


def row_hash(text: str, response: str) -> str:
    """Hash what a reviewer sees of a row."""
    seen = json.dumps([text, response])
    return hashlib.sha256(seen.encode()).hexdigest()[:16]


def decide(id: str, row: int, decision: str, text: str, response: str) -> Decision:
    """Make a decision, now."""
    now = datetime.now(UTC).isoformat(timespec="seconds")
    return Decision(id, row, decision, now, row_hash(text, response))


def _decision(line: str, place: str) -> Decision:
    try:
        found: Any = json.loads(line)
    except ValueError as error:
        raise AssayError(f"{place}: not valid JSON ({reason(error)})") from None
    names = [f.name for f in fields(Decision)]
    missing = [n for n in names if not isinstance(found, dict) or n not in found]
    if missing:
        raise AssayError(
            f"{place}: not a decision of assay review (no {', '.join(missing)})"
        )
    if found["decision"] not in CHOICES:
        raise AssayError(
            f"{place}: decision {found['decision']!r}; expected keep, remove or unsure"
        )
    return Decision(**{name: found[name] for name in names})


def read_decisions(path: Path, known: Mapping[str, str | None]) -> dict[str, Decision]:
    """Read decisions, by row id; of several about one row the last counts.

    Args:
        path: The file.
        known: The `row_hash` of every row of the data by id, or None where unknown.

    Raises:
        AssayError: The file is missing or damaged, or about other data.
    """
    try:
        lines = path.read_text(encoding="utf-8").split("\n")
    except OSError as error:
        raise AssayError(f"{path}: cannot be read ({reason(error)})") from None
    except UnicodeDecodeError:
        raise AssayError(f"{path}: not UTF-8 text") from None
    decisions = {}
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        place = f"{path}:{number}"
        found = _decision(line, place)
        if not isinstance(found.id, str) or found.id not in known:
            raise AssayError(
                f"{place}: the data have no row with id {found.id!r}; these decisions "
                "are of other data"
            )
        if known[found.id] not in (None, found.content):
            raise AssayError(
                f"{place}: row {found.id!r} had another text or response when it was "
                "reviewed; these decisions are of other data"
            )
        decisions[found.id] = found
    return decisions


def write_decisions(path: Path, decisions: Iterable[Decision]) -> None:
    """Write decisions, one a line, complete or not at all.

    Raises:
        AssayError: The file cannot be written.
    """
    with replacing(path) as partial:
        partial.write_text(
            "".join(json.dumps(asdict(d)) + "\n" for d in decisions), encoding="utf-8"
        )
