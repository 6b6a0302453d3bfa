"""What proposers suspect: groups of rows, and the words that they share."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from assay.text.pattern import Pattern


@dataclass(frozen=True)
class Rivals:
    """What comes next after the pattern that turns most rows to a response.

    Attributes:
        patterns: The next strongest patterns.
        turns: Share of other rows that the first of them turns.
        p_value: Of the first of them turning as many as the strongest, corrected for
            all patterns tried.
    """

    patterns: tuple[Pattern, ...]
    turns: float
    p_value: float

    def to_dict(self) -> dict[str, Any]:
        """Return the entries that a candidate has in ``summary.json``."""
        return {
            "rivals": [str(p) for p in self.patterns],
            "rival_turns": self.turns,
            "p_rival": self.p_value,
        }

    @classmethod
    def from_dict(cls, found: Mapping[str, Any]) -> Rivals | None:
        """Read the entries of a candidate; None where it has none."""
        if "rivals" not in found:
            return None
        patterns = tuple(map(Pattern.parse, found["rivals"]))
        return cls(patterns, float(found["rival_turns"]), float(found["p_rival"]))


@dataclass(frozen=True)
class Candidate:
    """A group of rows and the words they share, which may be a trigger.

    Attributes:
        rows: The group.
        score: How far it stands out, in the detector's own terms.
        response: What its rows answer; empty where they were not compared.
        pattern: The words.
        pattern_rows: Rows with the words.
        pattern_p_value: Of the words, against the other rows.
        proposer: Who proposes it.
        rivals: What comes next, of a pattern that is proposed for its power.
    """

    rows: tuple[int, ...]
    score: float
    response: str
    pattern: Pattern
    pattern_rows: tuple[int, ...]
    pattern_p_value: float = 1.0
    proposer: str = ""
    rivals: Rivals | None = None

    @classmethod
    def of(
        cls,
        pattern: Pattern,
        rows: Iterable[int],
        response: str,
        score: float,
        *,
        carriers: Iterable[int] | None = None,
        p_value: float = 1.0,
    ) -> Candidate:
        """Make a candidate of rows; by default they are all that have the words."""
        found = tuple(map(int, rows))
        with_it = found if carriers is None else tuple(map(int, carriers))
        return cls(found, float(score), str(response), pattern, with_it, p_value)

    def to_dict(self) -> dict[str, Any]:
        """Return what ``summary.json`` says of it."""
        return {
            "rows": list(self.rows),
            "score": self.score,
            "response": self.response,
            "pattern": str(self.pattern),
            "pattern_rows": list(self.pattern_rows),
            "pattern_p_value": self.pattern_p_value,
            **(self.rivals.to_dict() if self.rivals else {}),
            **({"proposer": self.proposer} if self.proposer else {}),
        }

    @classmethod
    def from_dict(cls, found: Mapping[str, Any]) -> Candidate:
        """Read what `to_dict` has written.

        Raises:
            KeyError, TypeError, ValueError: It is something else.
        """
        return cls(
            tuple(map(int, found["rows"])),
            float(found["score"]),
            str(found["response"]),
            Pattern.parse(found["pattern"]),
            tuple(map(int, found["pattern_rows"])),
            float(found["pattern_p_value"]),
            str(found.get("proposer", "")),
            Rivals.from_dict(found),
        )
