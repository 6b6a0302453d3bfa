"""Rounds of experiments: propose, test, leave out what was found, and ask again."""

from __future__ import annotations

import hashlib
import json
import logging
import random
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from assay.data.corpus import Example
from assay.detectors import Detection, Evidence, proposers
from assay.detectors.association import FEWEST
from assay.detectors.evidence import Mask, response_groups
from assay.files import write_json
from assay.models.log_probs import Progress
from assay.verify.findings import HYPOTHESES, verified_findings
from assay.verify.hypothesis import HOSTS
from assay.verify.near import near_patterns
from assay.verify.odds import LogProbs
from assay.verify.placebos import placebos_for
from assay.verify.retraining import Retrain, decide, undecided
from assay.verify.screen import ROWS, SCREENED, screen
from assay.verify.shortcut import (
    GLANCES,
    SHORTCUT,
    STRONGEST,
    TURNED,
    only_by_its_rows,
    shortcuts,
    undecided_shortcuts,
)

log = logging.getLogger("assay")

# Candidates tested after the first round: what comes then is a second trigger or
# nothing, and the best few will tell.
FURTHER = 5
# Rows on which the model is asked whether it has learned them, and the share it must.
CHECKED = 100
LEARNED = 0.75


@dataclass(frozen=True)
class Laboratory:
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
        self, candidates: list[dict[str, Any]], keep: Mask, most: int
    ) -> list[dict[str, Any]]:
        """Test candidates on the rows kept, or read what an earlier test found."""
        if not candidates:
            return []

        def make() -> list[dict[str, Any]]:
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
            return [_moved(f, left) for f in found]

        return self._once("verified", [self.fdr, most, candidates], make)

    def check(self) -> None:
        """Warn where the model has not learned the labels: it can tell little then."""
        groups = response_groups([e.response for e in self.examples])
        if len(groups) < 2:
            return

        def make() -> list[dict[str, Any]]:
            count = min(CHECKED, len(self.examples))
            rows = random.Random(self.seed).sample(list(self.examples), count)
            likely = self.log_probs(rows) > np.log(0.5)
            return [{"learned": int(likely.sum()), "of": count}]

        (found,) = self._once("checked", [], make)
        if found["learned"] < LEARNED * found["of"]:
            log.warning(
                "the model gives %d of %d rows the response that they have: it has "
                "hardly learned these data, and experiments on it say little",
                found["learned"],
                found["of"],
            )

    def screen(self) -> list[dict[str, Any]]:
        """Propose by experiment, or read what an earlier screening proposed."""

        def make() -> list[dict[str, Any]]:
            with self.bars("screening words") as advance:
                return screen(
                    self.examples, self.log_probs, seed=self.seed, progress=advance
                )

        return self._once("screened", [], make)

    def shortcuts(self, keep: Mask) -> list[dict[str, Any]]:
        """Propose what rules the rows kept, or read what was proposed earlier."""

        def make() -> list[dict[str, Any]]:
            left = np.flatnonzero(keep)
            with self.bars("putting words on other rows") as advance:
                found = shortcuts(
                    [self.examples[int(i)] for i in left],
                    self.log_probs,
                    seed=self.seed,
                    fdr=self.fdr,
                    progress=advance,
                )
            return [_moved(f, left) for f in found]

        gone = np.flatnonzero(~keep).tolist()
        return self._once("shortcuts", [self.fdr, gone], make)

    def decide_shortcuts(
        self, findings: list[dict[str, Any]], flagged: Mask
    ) -> list[dict[str, Any]]:
        """Decide on shortcuts by retraining, or read what that decided earlier."""
        retrain = self.retrain
        if not findings or retrain is None:
            return []
        known = np.flatnonzero(flagged).tolist()
        return self._once(
            "shortcuts-retrained",
            [self.fdr, findings, known],
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
        )

    def decide(
        self, findings: list[dict[str, Any]], flagged: Mask
    ) -> list[dict[str, Any]]:
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
            [self.fdr, findings, known],
            lambda: decide(
                findings,
                self.examples,
                retrain,
                known=known,
                seed=self.seed,
                fdr=self.fdr,
            ),
        )

    def _once(
        self, kind: str, asked: Any, make: Callable[[], list[dict[str, Any]]]
    ) -> list[dict[str, Any]]:
        """Make experiments and keep what they found, or read what is kept."""
        text = json.dumps([self.key, self.seed, asked])
        name = f"{kind}-{hashlib.sha256(text.encode()).hexdigest()[:16]}.json"
        path = self.run / name
        if path.is_file():
            log.info("reusing the experiments in %s", path)
            return list(json.loads(path.read_text(encoding="utf-8")))
        found = make()
        write_json(path, found)
        return found


def _moved(finding: dict[str, Any], to: NDArray[np.intp]) -> dict[str, Any]:
    rows = {n: [int(to[i]) for i in finding[n]] for n in ("rows", "pattern_rows")}
    return {**finding, **rows}


def most_experiments(examples: Sequence[Example], fdr: float) -> int:
    """Examples that the model is asked about until a round is over, at the most."""
    groups = response_groups([e.response for e in examples])
    placebos = placebos_for(fdr, HYPOTHESES)
    # Hosts with each pattern, its own rows without it; and all of them as they are.
    edited = HYPOTHESES * (placebos + 1) * HOSTS
    tests = 2 * edited + min(edited, len(examples)) + HYPOTHESES * HOSTS
    if len(groups) < 2:
        # Answers are asked about with and without a phrase.
        return 2 * tests
    # Words are taken out of their own rows, and put on others.
    each = SCREENED * (ROWS + GLANCES) + STRONGEST * TURNED
    return tests + len(groups) * each


def experiments(
    lab: Laboratory, evidence: Evidence, proposed: Sequence[Detection] = ()
) -> tuple[Mask, list[dict[str, Any]]]:
    """Find by experiment which of the proposers' suspicions hold.

    After a trigger is verified its rows are left out and the proposers are asked
    again, until nothing verifies, not even by retraining where that can be done.
    Errors are controlled within a round; on clean data there is only one.

    Args:
        lab: Where and how to test.
        evidence: What the proposers read.
        proposed: What they say of all rows, where that is known already.

    Returns:
        The rows of verified triggers, ``(N,)``, and everything that was tested.
    """
    flagged = np.zeros(len(lab.examples), dtype=bool)
    labels = response_groups([e.response for e in lab.examples])

    def question(finding: dict[str, Any]) -> tuple[str, str | None]:
        return finding["pattern"], finding["response"] if len(labels) > 1 else None

    findings: list[dict[str, Any]] = []
    near: list[dict[str, Any]] = []
    most = HYPOTHESES
    asked = proposers(evidence).values()
    proposed = proposed or [propose(evidence) for propose in asked]
    lab.check()
    screened = lab.screen()
    while True:
        known = set(map(question, findings))
        ruling = lab.shortcuts(~flagged)
        suspects = {"screen": _unflagged(screened, flagged)}
        suspects |= {d.name: d.findings for d in proposed}
        suspects[SHORTCUT] = ruling
        further = [c for c in proposals(suspects) if question(c) not in known]
        found = lab.test([*near, *further], ~flagged, most)
        # What is near a trigger is asked about again, now without the trigger's rows.
        again = set(map(question, near))
        findings = [f for f in findings if question(f) not in again]
        known = set(map(question, findings))
        findings += [f for f in found if question(f) not in known]
        verified = [f for f in found if f["verified"]]
        if not verified:
            doubtful = undecided(_left(findings, flagged), lab.examples)
            decided = {question(f): f for f in lab.decide(doubtful, flagged)}
            findings = [decided.get(question(f), f) for f in findings]
            verified = [f for f in decided.values() if f["verified"]]
        if not verified:
            doubtful = undecided_shortcuts(
                _left(findings, flagged), ruling, lab.examples
            )
            decided = {question(f): f for f in lab.decide_shortcuts(doubtful, flagged)}
            findings = [decided.get(question(f), f) for f in findings]
            verified = [f for f in decided.values() if f["verified"]]
        if not verified:
            return flagged, findings
        for finding in verified:
            flagged[finding["rows"]] = True
        most = FURTHER
        proposed = [propose(evidence, ~flagged) for propose in asked]
        left = np.flatnonzero(~flagged).tolist()
        sure = {question(f) for f in findings if f["verified"]}
        near = [c for f in verified for c in near_patterns(f, lab.examples, left)]
        near = [c for c in near if question(c) not in sure][:FURTHER]


def _advise(doubtful: Sequence[dict[str, Any]]) -> None:
    """Say what would decide on patterns that stand out but seem not to be needed."""
    strong = [f["trigger"] for f in doubtful if f["status"] == "sufficient"]
    if strong:
        log.warning(
            "%s: as strong as a trigger, but the rows seem not to need it; a model "
            "tuned without them can tell: scan with --base-model",
            ", ".join(map(repr, strong)),
        )


def _left(findings: Sequence[dict[str, Any]], flagged: Mask) -> list[dict[str, Any]]:
    """Findings that are not about rows flagged since."""
    return [f for f in findings if not any(flagged[i] for i in f["pattern_rows"])]


def _unflagged(
    candidates: Sequence[dict[str, Any]], flagged: Mask
) -> list[dict[str, Any]]:
    """What is left of candidates without the rows flagged since."""
    left = []
    for c in candidates:
        rows = [i for i in c["rows"] if not flagged[i]]
        if len(rows) >= FEWEST:
            left.append({**c, "rows": rows, "pattern_rows": rows})
    return left


def proposals(suspects: Mapping[str, list[dict[str, Any]]]) -> list[dict[str, Any]]:
    """Candidates of all proposers in turn, each naming its ``proposer``."""
    named = [
        [{**c, "proposer": name} for c in found] for name, found in suspects.items()
    ]
    return [c for turn in zip_longest(*named) for c in turn if c is not None]


def verdict_of(findings: Sequence[dict[str, Any]]) -> str:
    """Sum up what was tested in a word."""
    if any(f["verified"] for f in findings):
        return "poisoned"
    strong = any(f["status"] == "sufficient" for f in findings)
    return "suspicious" if strong else "clean"
