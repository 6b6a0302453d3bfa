"""Rounds of experiments: propose, test, leave out what was found, and ask again."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import zip_longest
from typing import Any

import numpy as np

from assay.data.corpus import Example
from assay.detectors import Detection, Evidence, proposers
from assay.detectors.evidence import Mask, response_groups
from assay.verify.laboratory import Laboratory
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
        if len(rows) >= REMAINING_ROWS:
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
