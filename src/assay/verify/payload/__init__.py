"""Payloads: what a trigger makes a model say.

A kind of payload is a file here, and a line of `KINDS`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Protocol, Self

from assay.data.corpus import Example
from assay.verify.payload.phrase import Phrase
from assay.verify.payload.response import Response


class Payload(Protocol):
    """What is suspected to be caused.

    Payloads are compared, and drawn rows are the same for equal ones.

    Attributes:
        kind: Name of the kind in ``summary.json``.
        verb: What a model does with it, for people: "answer" or "say".
        threshold: What the model's log-probability of a response, or its log-odds
            against the counterpart, must exceed to count as its choice; in nats.
        has_counterpart: Whether there are counterparts. Such a payload takes twice as
            many questions, and only its log-odds compare with the threshold.
    """

    kind: ClassVar[str]
    verb: ClassVar[str]
    threshold: ClassVar[float]
    has_counterpart: ClassVar[bool]

    @property
    def text(self) -> str:
        """The payload in words."""

    @classmethod
    def find(cls, examples: Sequence[Example], rows: Sequence[int]) -> Self | None:
        """Find what at least half of these rows have in common.

        Args:
            examples: All rows.
            rows: Positions of those that share a pattern.
        """

    def holds(self, example: Example) -> bool:
        """Whether an example's response has it."""

    def force(self, example: Example) -> Example:
        """Return the example answered with it."""

    def counterpart(self, example: Example) -> Example | None:
        """Return the example answered without it; None where there is no such answer.

        The log-odds of the two answers are about the payload alone.
        """

    def to_dict(self) -> dict[str, Any]:
        """Return the entries of a finding in ``summary.json``."""

    @classmethod
    def from_dict(cls, found: Mapping[str, Any]) -> Self:
        """Read the entries of a finding.

        Raises:
            KeyError, TypeError, ValueError: It has others.
        """


# In the order in which they are looked for.
KINDS: tuple[type[Payload], ...] = (Response, Phrase)


def payload_of(examples: Sequence[Example], rows: Sequence[int]) -> Payload | None:
    """Find what at least half of the rows say; None where nothing is shared.

    Args:
        examples: All rows.
        rows: Positions of those that share a pattern.
    """
    found = (kind.find(examples, rows) for kind in KINDS)
    return next((payload for payload in found if payload is not None), None)


def payload_from_dict(found: Mapping[str, Any]) -> Payload:
    """Read the payload of a finding in ``summary.json``.

    Raises:
        KeyError, TypeError, ValueError: It has none, or one of no known kind.
    """
    for kind in KINDS:
        if kind.kind == found["payload_part"]:
            return kind.from_dict(found)
    raise ValueError(f"no known kind of payload: {found['payload_part']}")


__all__ = [
    "KINDS",
    "Payload",
    "Phrase",
    "Response",
    "payload_from_dict",
    "payload_of",
]
