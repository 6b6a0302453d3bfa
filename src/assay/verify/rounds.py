"""Rounds of experiments: propose, test, leave out what was found, and ask again."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import zip_longest

import numpy as np

from assay.data.corpus import Example
from assay.detectors import (
    DEFAULT_RULES,
    Detection,
    Evidence,
    PaperRules,
    proposers,
)
from assay.detectors.candidate import Candidate
from assay.detectors.evidence import Mask, response_groups
from assay.text.pattern import Pattern
from assay.verify.experiments import Experiments
from assay.verify.finding import Finding, Status
from assay.verify.near import near_patterns
from assay.verify.placebos import placebos_for
from assay.verify.retraining import undecided
from assay.verify.shortcut import SHORTCUT
from assay.verify.shortcut_retraining import undecided_shortcuts
from assay.verify.thresholds import (
    ASKED_AGAIN,
    FIRST_HOSTS,
    FIRST_PASS,
    FURTHER,
    HOSTS,
    HYPOTHESES,
    REMAINING_ROWS,
    SCREENED,
    SECOND_PASS,
    STRONGEST,
    TURNED,
)


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
    each = SCREENED * (FIRST_PASS + FIRST_HOSTS) + STRONGEST * TURNED
    return tests + len(groups) * each + ASKED_AGAIN * SECOND_PASS


def experiments(
    lab: Experiments,
    evidence: Evidence,
    proposed: Sequence[Detection] = (),
    rules: PaperRules = DEFAULT_RULES,
) -> tuple[Mask, list[Finding]]:
    """Find by experiment which of the proposers' suspicions hold.

    After a trigger is verified its rows are left out and the proposers are asked
    again, until nothing verifies, not even by retraining where that can be done.
    Errors are controlled within a round; on clean data there is only one.

    Args:
        lab: Where and how to test.
        evidence: What the proposers read.
        proposed: What they say of all rows, where that is known already.
        rules: Parameters of the paper's rules, which are asked where they can be.

    Returns:
        The rows of verified triggers, ``(N,)``, and everything that was tested.
    """
    flagged = np.zeros(len(lab.examples), dtype=bool)
    labels = response_groups([e.response for e in lab.examples])
    findings = _Findings(labelled=len(labels) > 1)
    near: list[Candidate] = []
    most = HYPOTHESES
    asked = proposers(evidence, rules).values()
    proposed = proposed or [propose(evidence) for propose in asked]
    lab.check()
    screened = lab.screen()
    while True:
        ruling = lab.shortcuts(~flagged)
        suspects: dict[str, Sequence[Candidate]] = {}
        suspects["screen"] = _unflagged(screened, flagged)
        suspects |= {d.name: d.candidates for d in proposed}
        suspects[SHORTCUT] = ruling
        further = [c for c in proposals(suspects) if not findings.has(c)]
        found = lab.test([*near, *further], ~flagged, most)
        # What is near a trigger is asked about again, now without the trigger's rows.
        findings.forget(near)
        findings.add(found)
        verified = [f for f in found if f.is_verified]
        if not verified:
            doubtful = undecided(findings.left(flagged), lab.examples)
            verified = findings.update(lab.decide(doubtful, flagged))
        if not verified:
            left = findings.left(flagged)
            doubtful = undecided_shortcuts(left, ruling, lab.examples)
            verified = findings.update(lab.decide_shortcuts(doubtful, flagged))
        if not verified:
            return flagged, findings.all
        for finding in verified:
            flagged[list(finding.rows)] = True
        most = FURTHER
        proposed = [propose(evidence, ~flagged) for propose in asked]
        rows = np.flatnonzero(~flagged).tolist()
        near = [c for f in verified for c in near_patterns(f, lab.examples, rows)]
        near = [c for c in near if not findings.has_verified(c)][:FURTHER]


class _Findings:
    """What was found so far; a pattern is one question for each response that differs.

    Attributes:
        all: The findings, in the order in which they were made.
        labelled: Whether responses are labels; else a response tells nothing.
    """

    def __init__(self, labelled: bool) -> None:
        self.all: list[Finding] = []
        self.labelled = labelled

    def _question(self, candidate: Candidate) -> tuple[Pattern, str | None]:
        return candidate.pattern, candidate.response if self.labelled else None

    def _questions(self, verified: bool = False) -> set[tuple[Pattern, str | None]]:
        asked = [f for f in self.all if f.is_verified or not verified]
        return {self._question(f.candidate) for f in asked}

    def has(self, candidate: Candidate) -> bool:
        """Whether this was asked before."""
        return self._question(candidate) in self._questions()

    def has_verified(self, candidate: Candidate) -> bool:
        """Whether this is a verified trigger."""
        return self._question(candidate) in self._questions(verified=True)

    def add(self, found: Sequence[Finding]) -> None:
        """Add findings about what was not asked before."""
        self.all += [f for f in found if not self.has(f.candidate)]

    def forget(self, candidates: Sequence[Candidate]) -> None:
        """Forget what was found of these."""
        gone = set(map(self._question, candidates))
        self.all = [f for f in self.all if self._question(f.candidate) not in gone]

    def left(self, flagged: Mask) -> list[Finding]:
        """Findings that are not about rows flagged since."""
        return [f for f in self.all if not any(flagged[i] for i in f.pattern_rows)]

    def update(self, decided: Sequence[Finding]) -> list[Finding]:
        """Replace findings by what was decided on them; return the verified ones."""
        now = {self._question(f.candidate): f for f in decided}
        self.all = [now.get(self._question(f.candidate), f) for f in self.all]
        return [f for f in now.values() if f.is_verified]


def _unflagged(candidates: Sequence[Candidate], flagged: Mask) -> list[Candidate]:
    """What is left of candidates without the rows flagged since."""
    left = []
    for candidate in candidates:
        rows = tuple(i for i in candidate.rows if not flagged[i])
        if len(rows) >= REMAINING_ROWS:
            left.append(replace(candidate, rows=rows, pattern_rows=rows))
    return left


def proposals(suspects: Mapping[str, Sequence[Candidate]]) -> list[Candidate]:
    """Candidates of all proposers in turn, each naming its proposer."""
    named = [
        [replace(c, proposer=name) for c in found] for name, found in suspects.items()
    ]
    return [c for turn in zip_longest(*named) for c in turn if c is not None]


def verdict_of(findings: Sequence[Finding]) -> str:
    """Sum up what was tested in a word."""
    statuses = {f.status for f in findings}
    if Status.VERIFIED in statuses:
        return "poisoned"
    return "suspicious" if Status.SUFFICIENT in statuses else "clean"
