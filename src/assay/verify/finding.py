"""Findings: what a scan says of a candidate, and its form in ``summary.json``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any, NamedTuple, Self

from assay.detectors.candidate import Candidate
from assay.text.pattern import Pattern
from assay.verify.payload import Payload, payload_from_dict


class Status(Enum):
    """What is known of a candidate."""

    UNTESTED = "not tested"
    VERIFIED = "verified"
    # It rules other rows, but its own do not need it.
    SUFFICIENT = "sufficient"
    DISMISSED = "dismissed"
    UNTESTABLE = "untestable"

    @property
    def is_set_aside(self) -> bool:
        """Whether it gives no reason for suspicion."""
        return self in (Status.DISMISSED, Status.UNTESTABLE)


class Tally(NamedTuple):
    """So many rows of so many; a list of two in ``summary.json``."""

    hits: int
    of: int

    @classmethod
    def read(cls, found: Sequence[int]) -> Self:
        """Read such a list."""
        hits, of = found
        return cls(int(hits), int(of))


@dataclass(frozen=True)
class Experiment:
    """Outcome of putting a pattern on other rows, and taking it out of its own.

    Attributes:
        payload: What the pattern was suspected to cause.
        companions: Words that stand with the pattern and were taken out with it.
        trigger: The pattern as most of its rows spell it.
        prefers: Of the other rows on which the model does not choose the payload as
            they are, the share on which it does when shown the pattern: it finds the
            payload likelier than all other responses together, or the response with
            the phrase likelier than the same one without. 0 where it always does.
        effect: Mean change of the payload's log-probability on other rows, in nats;
            of its log-odds where it is a phrase.
        interval: 95 % t-interval of the effect.
        drop: Median loss of log-probability when taken out of its own rows.
        overridden: Own rows that find their response less than a tenth as likely
            without it, of those tried.
        placebo_effects: The effect of each placebo tried.
        p_value: Share of placebos (with the pattern itself) that do as well on the
            worse of the two counts, effect and what most rows lose; of those tried
            until it cannot stand out.
        p_sufficient: Share whose effect alone is as large.
    """

    payload: Payload
    companions: tuple[str, ...]
    trigger: str
    prefers: float
    effect: float
    interval: tuple[float, float]
    drop: float
    overridden: Tally
    placebo_effects: tuple[float, ...]
    p_value: float
    p_sufficient: float

    def to_dict(self) -> dict[str, Any]:
        """Return the entries of a finding in ``summary.json``."""
        return {
            "trigger": self.trigger,
            **self.payload.to_dict(),
            "prefers": self.prefers,
            "effect": self.effect,
            "effect_interval": list(self.interval),
            "drop": self.drop,
            "overridden": list(self.overridden),
            "placebo_effects": list(self.placebo_effects),
            "p_value": self.p_value,
            "p_sufficient": self.p_sufficient,
        }

    @classmethod
    def from_dict(cls, found: Mapping[str, Any]) -> Experiment | None:
        """Read the entries of a finding; None where nothing was tried."""
        if "effect" not in found:
            return None
        low, high = found["effect_interval"]
        return cls(
            payload_from_dict(found),
            tuple(map(str, found.get("companions", ()))),
            str(found["trigger"]),
            float(found["prefers"]),
            float(found["effect"]),
            (float(low), float(high)),
            float(found["drop"]),
            Tally.read(found["overridden"]),
            tuple(map(float, found["placebo_effects"])),
            # What retraining has verified has its p-value from there.
            float(found.get("p_placebos", found["p_value"])),
            float(found["p_sufficient"]),
        )


@dataclass(frozen=True)
class Retraining:
    """What a model says that was tuned without most of a pattern's rows.

    Attributes:
        contradicted: Rows of those left out that it answers otherwise, the pattern
            taken out.
        ordinary: The same of ordinary rows with the payload, as many words taken out.
        p_value: Of the difference, corrected for all patterns asked about.
    """

    contradicted: Tally
    ordinary: Tally
    p_value: float

    def to_dict(self) -> dict[str, Any]:
        """Return what ``summary.json`` says of it."""
        return {
            "contradicted": list(self.contradicted),
            "ordinary": list(self.ordinary),
            "p_value": self.p_value,
        }

    @classmethod
    def from_dict(cls, found: Mapping[str, Any]) -> Retraining:
        """Read what `to_dict` has written."""
        return cls(
            Tally.read(found["contradicted"]),
            Tally.read(found["ordinary"]),
            float(found["p_value"]),
        )


@dataclass(frozen=True)
class Shortcut:
    """What a model says that was tuned without all rows of a pattern and its rivals.

    Attributes:
        turned: Other rows that the pattern turns, of those it was put on.
        still: Of these, rows that it turns in the new model.
        agrees: Its own rows that the new model answers as they are, the pattern out.
        ordinary: Ordinary rows with the payload that it answers as they are.
        rivals: Patterns whose rows were left out as well.
        rival_turns: Share of other rows that the strongest of them turns.
        keeps: Share of the pattern's power over other rows that is left.
        rivals_keep: The same of its rivals, in the median.
        p_value: The larger of two: that half stay turned, and that the next strongest
            pattern turns as many. 1 where the model cannot tell.
    """

    turned: Tally
    still: Tally
    agrees: Tally
    ordinary: Tally
    rivals: tuple[Pattern, ...]
    rival_turns: float
    keeps: float
    rivals_keep: float
    p_value: float

    def to_dict(self) -> dict[str, Any]:
        """Return what ``summary.json`` says of it."""
        return {
            "turned": list(self.turned),
            "still": list(self.still),
            "agrees": list(self.agrees),
            "ordinary": list(self.ordinary),
            "rivals": [str(p) for p in self.rivals],
            "rival_turns": self.rival_turns,
            "keeps": self.keeps,
            "rivals_keep": self.rivals_keep,
            "p_value": self.p_value,
        }

    @classmethod
    def from_dict(cls, found: Mapping[str, Any]) -> Shortcut:
        """Read what `to_dict` has written."""
        return cls(
            Tally.read(found["turned"]),
            Tally.read(found["still"]),
            Tally.read(found["agrees"]),
            Tally.read(found["ordinary"]),
            tuple(map(Pattern.parse, found["rivals"])),
            float(found["rival_turns"]),
            float(found["keeps"]),
            float(found["rivals_keep"]),
            float(found["p_value"]),
        )


@dataclass(frozen=True)
class Finding:
    """A candidate, and what experiments say of it.

    Attributes:
        candidate: What was proposed. Its pattern may have been lengthened or narrowed
            since, and the rows of a verified one are all that carry pattern and
            payload.
        status: What is known of it.
        experiment: The outcome on the model scanned; None where there was none.
        minimal: The shortest part that does as much, as it is spelled.
        retraining: What a model tuned without most of its rows says.
        shortcut: What one tuned without any of them says.
        p_retrained: P-value by which one of these has verified it.
    """

    candidate: Candidate
    status: Status = Status.UNTESTED
    experiment: Experiment | None = None
    minimal: str | None = None
    retraining: Retraining | None = None
    shortcut: Shortcut | None = None
    p_retrained: float | None = None

    @property
    def pattern(self) -> Pattern:
        """The words in question."""
        return self.candidate.pattern

    @property
    def rows(self) -> tuple[int, ...]:
        """Rows that it is about, and that are flagged if it is verified."""
        return self.candidate.rows

    @property
    def pattern_rows(self) -> tuple[int, ...]:
        """All rows with the words."""
        return self.candidate.pattern_rows

    @property
    def is_verified(self) -> bool:
        """Whether its rows are flagged."""
        return self.status is Status.VERIFIED

    @property
    def tested(self) -> Experiment:
        """The experiment of a finding that is known to have been tested.

        Raises:
            ValueError: It was not.
        """
        if self.experiment is None:
            raise ValueError(f"{self.pattern} was not tested")
        return self.experiment

    @property
    def payload(self) -> Payload | None:
        """What the words were suspected to cause, where that was tested."""
        return self.experiment.payload if self.experiment else None

    @property
    def trigger(self) -> str:
        """The words as most of their rows spell them, where that was looked at."""
        return self.experiment.trigger if self.experiment else str(self.pattern)

    @property
    def p_value(self) -> float | None:
        """P-value of the test that decided, corrected; None where none was made."""
        if self.p_retrained is not None:
            return self.p_retrained
        return self.experiment.p_value if self.experiment else None

    @property
    def shown_p_value(self) -> float | None:
        """P-value of what it stands out by.

        What is only sufficient stands out by its effect on other rows alone.
        """
        if self.experiment is None or self.is_verified:
            return self.p_value
        return self.experiment.p_sufficient

    @property
    def enough(self) -> str | None:
        """The part of the trigger that does as much, where that is not all of it."""
        return self.minimal if self.minimal != self.trigger else None

    def to_dict(self) -> dict[str, Any]:
        """Return what ``summary.json`` says of it."""
        found = self.candidate.to_dict()
        if self.status is Status.UNTESTED:
            return found
        if self.experiment is not None:
            found["companions"] = list(self.experiment.companions)
        found |= {"verified": self.is_verified, "status": self.status.value}
        if self.experiment is not None:
            found |= self.experiment.to_dict()
        if self.minimal is not None:
            found["minimal"] = self.minimal
        if self.retraining is not None:
            found["retrained"] = self.retraining.to_dict()
        if self.shortcut is not None:
            found["shortcut"] = self.shortcut.to_dict()
        if self.p_retrained is not None:
            found |= {"p_placebos": found["p_value"], "p_value": self.p_retrained}
        return found

    @classmethod
    def from_dict(cls, found: Mapping[str, Any]) -> Finding:
        """Read what `to_dict` has written.

        Raises:
            KeyError, TypeError, ValueError: It is something else.
        """
        retrained, shortcut = found.get("retrained"), found.get("shortcut")
        minimal = found.get("minimal")
        return cls(
            Candidate.from_dict(found),
            Status(found.get("status", Status.UNTESTED.value)),
            Experiment.from_dict(found),
            None if minimal is None else str(minimal),
            None if retrained is None else Retraining.from_dict(retrained),
            None if shortcut is None else Shortcut.from_dict(shortcut),
            float(found["p_value"]) if "p_placebos" in found else None,
        )


@dataclass(frozen=True)
class Group:
    """Rows that a detector flags without saying what they share.

    Attributes:
        rows: The rows.
        score: Their mean score.
    """

    rows: tuple[int, ...]
    score: float

    def to_dict(self) -> dict[str, Any]:
        """Return what ``summary.json`` says of it."""
        return {"rows": list(self.rows), "score": self.score}

    @classmethod
    def from_dict(cls, found: Mapping[str, Any]) -> Group:
        """Read what `to_dict` has written."""
        return cls(tuple(map(int, found["rows"])), float(found["score"]))


Found = Finding | Group


def parted(findings: Sequence[Found]) -> tuple[list[Found], list[Finding]]:
    """Part what is reported, what was verified first, from what gives no suspicion."""
    aside: list[Finding] = []
    reported: list[Found] = []
    for found in findings:
        if isinstance(found, Finding) and found.status.is_set_aside:
            aside.append(found)
        else:
            reported.append(found)
    return sorted(reported, key=lambda f: not verified(f)), aside


def verified(found: Found) -> bool:
    """Whether it is a verified trigger."""
    return isinstance(found, Finding) and found.is_verified


def reported_in(summary: Mapping[str, Any]) -> list[Found]:
    """Read what a summary reports.

    Raises:
        KeyError, TypeError, ValueError: It holds something else.
    """
    return [
        Finding.from_dict(f) if "pattern" in f else Group.from_dict(f)
        for f in summary["findings"]
    ]


def dismissed_in(summary: Mapping[str, Any]) -> list[Finding]:
    """Read what a summary says of patterns that came to nothing.

    Raises:
        KeyError, TypeError, ValueError: It holds something else.
    """
    return [Finding.from_dict(f) for f in summary.get("dismissed", ())]
