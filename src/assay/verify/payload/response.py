"""Payload that is a whole response, such as a label or a refusal."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from assay.data.corpus import Example


@dataclass(frozen=True)
class Response:
    """A response that is always the same.

    Attributes:
        text: The response.
    """

    kind: ClassVar[str] = "response"
    verb: ClassVar[str] = "answer"
    # Likelier than all other responses together.
    threshold: ClassVar[float] = math.log(0.5)
    has_counterpart: ClassVar[bool] = False

    text: str

    @classmethod
    def find(cls, examples: Sequence[Example], rows: Sequence[int]) -> Response | None:
        """Find the response of at least half of the rows.

        One row of two has nothing in common with the other.
        """
        response, count = Counter(examples[i].response for i in rows).most_common(1)[0]
        shared = 2 * count >= len(rows) and count >= min(2, len(rows))
        return cls(response) if shared else None

    def holds(self, example: Example) -> bool:
        """Whether an example is answered so."""
        return example.response == self.text

    def force(self, example: Example) -> Example:
        """Return the example answered so."""
        return example.edit(response=self.text)

    def counterpart(self, example: Example) -> None:
        """Return nothing: without it no response is left."""
        return None

    def to_dict(self) -> dict[str, Any]:
        """Return the entries of a finding in ``summary.json``."""
        return {"payload": self.text, "payload_part": self.kind}

    @classmethod
    def from_dict(cls, found: Mapping[str, Any]) -> Response:
        """Read the entries of a finding."""
        return cls(str(found["payload"]))
