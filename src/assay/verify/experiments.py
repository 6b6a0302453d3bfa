"""Where experiments are made, and what they found is kept."""

from __future__ import annotations

import hashlib
import json
import logging
import random
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol, Self, TypeVar

import numpy as np
from numpy.typing import NDArray

from assay.data.corpus import Example
from assay.detectors.candidate import Candidate
from assay.detectors.evidence import Mask, response_groups
from assay.util.files import write_json
from assay.util.progress import Progress
from assay.verify.finding import Finding, Status
from assay.verify.findings import verified_findings
from assay.verify.odds import LogProbs
from assay.verify.payload import Response
from assay.verify.retraining import Retrain, decide
from assay.verify.screen import screen
from assay.verify.shortcut import shortcuts
from assay.verify.shortcut_retraining import only_by_its_rows
from assay.verify.thresholds import CHECKED_ROWS, LEARNED_SHARE

log = logging.getLogger("assay")


class _Kept(Protocol):
    """What can be kept in a file."""

    def to_dict(self) -> dict[str, Any]: ...

    @classmethod
    def from_dict(cls, found: Mapping[str, Any]) -> Self: ...


Result = TypeVar("Result", bound=_Kept)


@dataclass(frozen=True)
class Experiments:
    """Where and how experiments are made.

    Attributes:
        examples: The training rows.
        log_probs: Log-probability of each example's response under the tuned model.
        run: Folder in which outcomes are kept.
        key: Hash of model, data and settings; outcomes of others are not read.
        seed: Seed of draws.
        fdr: Tolerated share of false flags, in expectation.
        bars: Given a label, returns a progress bar.
        retrain: Tunes a model without some rows, where that can be done.
    """

    examples: Sequence[Example]
    log_probs: LogProbs
    run: Path
    key: str
    seed: int
    fdr: float
    bars: Callable[[str], AbstractContextManager[Progress]]
    retrain: Retrain | None = None

    def test(
        self, candidates: Sequence[Candidate], keep: Mask, most: int
    ) -> list[Finding]:
        """Test candidates on the rows kept, or read what an earlier test found."""
        if not candidates:
            return []

        def make() -> list[Finding]:
            left = np.flatnonzero(keep)
            place = np.cumsum(keep) - 1
            with self.bars("testing candidates") as advance:
                found = verified_findings(
                    [_moved(c, place) for c in candidates],
                    [self.examples[int(i)] for i in left],
                    self.log_probs,
                    seed=self.seed,
                    most=most,
                    fdr=self.fdr,
                    progress=advance,
                )
            return [replace(f, candidate=_moved(f.candidate, left)) for f in found]

        asked = [c.to_dict() for c in candidates]
        return self._once("verified", [self.fdr, most, asked], make, Finding)

    def check(self) -> None:
        """Warn where the model has not learned the labels: it can tell little then."""
        groups = response_groups([e.response for e in self.examples])
        if len(groups) < 2:
            return

        def make() -> list[_Learned]:
            count = min(CHECKED_ROWS, len(self.examples))
            rows = random.Random(self.seed).sample(list(self.examples), count)
            likely = self.log_probs(rows) > Response.threshold
            return [_Learned(int(likely.sum()), count)]

        (found,) = self._once("checked", [], make, _Learned)
        if found.learned < LEARNED_SHARE * found.of:
            log.warning(
                "the model gives %d of %d rows the response that they have: it has "
                "hardly learned these data, and experiments on it say little",
                found.learned,
                found.of,
            )

    def screen(self) -> list[Candidate]:
        """Propose by experiment, or read what an earlier screening proposed."""

        def make() -> list[Candidate]:
            with self.bars("screening words") as advance:
                return screen(
                    self.examples, self.log_probs, seed=self.seed, progress=advance
                )

        return self._once("screened", [], make, Candidate)

    def shortcuts(self, keep: Mask) -> list[Candidate]:
        """Propose what rules the rows kept, or read what was proposed earlier."""

        def make() -> list[Candidate]:
            left = np.flatnonzero(keep)
            with self.bars("putting words on other rows") as advance:
                found = shortcuts(
                    [self.examples[int(i)] for i in left],
                    self.log_probs,
                    seed=self.seed,
                    fdr=self.fdr,
                    progress=advance,
                )
            return [_moved(c, left) for c in found]

        gone = np.flatnonzero(~keep).tolist()
        return self._once("shortcuts", [self.fdr, gone], make, Candidate)

    def decide_shortcuts(
        self, findings: Sequence[Finding], flagged: Mask
    ) -> list[Finding]:
        """Decide on shortcuts by retraining, or read what that decided earlier."""
        retrain = self.retrain
        if not findings or retrain is None:
            return []
        known = np.flatnonzero(flagged).tolist()
        return self._once(
            "shortcuts-retrained",
            [self.fdr, [f.to_dict() for f in findings], known],
            lambda: [
                only_by_its_rows(
                    finding,
                    self.examples,
                    self.log_probs,
                    retrain,
                    known=known,
                    seed=self.seed,
                    fdr=self.fdr,
                )
                for finding in findings
            ],
            Finding,
        )

    def decide(self, findings: Sequence[Finding], flagged: Mask) -> list[Finding]:
        """Decide on findings by retraining, or read what that decided earlier.

        Where nothing can be retrained, says what that could decide.
        """
        retrain = self.retrain
        if retrain is None:
            _advise(findings)
        if not findings or retrain is None:
            return []
        known = np.flatnonzero(flagged).tolist()
        return self._once(
            "retrained",
            [self.fdr, [f.to_dict() for f in findings], known],
            lambda: decide(
                findings,
                self.examples,
                retrain,
                known=known,
                seed=self.seed,
                fdr=self.fdr,
            ),
            Finding,
        )

    def _once(
        self,
        stage: str,
        asked: Any,
        make: Callable[[], list[Result]],
        kind: type[Result],
    ) -> list[Result]:
        """Make experiments and keep what they found, or read what is kept."""
        text = json.dumps([self.key, self.seed, asked])
        name = f"{stage}-{hashlib.sha256(text.encode()).hexdigest()[:16]}.json"
        path = self.run / name
        if path.is_file():
            log.info("reusing the experiments in %s", path)
            kept = json.loads(path.read_text(encoding="utf-8"))
            return [kind.from_dict(entry) for entry in kept]
        found = make()
        write_json(path, [entry.to_dict() for entry in found])
        return found


@dataclass(frozen=True)
class _Learned:
    """How many rows of those asked about have the response that the model gives."""

    learned: int
    of: int

    def to_dict(self) -> dict[str, Any]:
        return {"learned": self.learned, "of": self.of}

    @classmethod
    def from_dict(cls, found: Mapping[str, Any]) -> Self:
        return cls(int(found["learned"]), int(found["of"]))


def _moved(candidate: Candidate, to: NDArray[np.intp]) -> Candidate:
    """The same candidate where rows have other positions."""
    rows, with_it = (
        tuple(int(to[i]) for i in found)
        for found in (candidate.rows, candidate.pattern_rows)
    )
    return replace(candidate, rows=rows, pattern_rows=with_it)


def _advise(doubtful: Sequence[Finding]) -> None:
    """Say what would decide on patterns that stand out but seem not to be needed."""
    strong = [f.trigger for f in doubtful if f.status is Status.SUFFICIENT]
    if strong:
        log.warning(
            "%s: as strong as a trigger, but the rows seem not to need it; a model "
            "tuned without them can tell: scan with --base-model",
            ", ".join(map(repr, strong)),
        )
