"""Does a shortcut come from its own rows alone? A model that never saw them can tell.

What `assay.verify.shortcut` proposes turns nearly all rows that answer otherwise. The
model is tuned once more without any row of it, and without those of the next strongest
words, as far as they leave enough. These have their power by what they mean, and keep
some of it in a model that knows its language; a trigger keeps less. In a model trained
from nothing all of them lose it, and it cannot tell. Some ordinary rows are left out,
too: they tell whether the model has learned how to answer. Whether the trigger's own
rows are labelled rightly is told, but does not matter: a poor model may neither agree
with them nor contradict them.
"""

from __future__ import annotations

import logging
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from statistics import median

from scipy.stats import binomtest

from assay.data.corpus import Example
from assay.detectors.candidate import Candidate, Rivals
from assay.text.pattern import Pattern, carrying
from assay.verify.causal import beyond_half
from assay.verify.finding import Finding, Shortcut, Status, Tally
from assay.verify.odds import LogProbs, remembering
from assay.verify.retraining import (
    Retrain,
    given,
    ordinary_rows,
    own_rows,
    room,
    tuned_without,
    verified_by_retraining,
)
from assay.verify.shortcut import Rule, put_on
from assay.verify.thresholds import FDR, FORGOTTEN, MEANING

log = logging.getLogger("assay")


def undecided_shortcuts(
    findings: Sequence[Finding],
    proposed: Sequence[Candidate],
    examples: Sequence[Example],
) -> list[Finding]:
    """What was found of shortcuts and not verified, and may be decided by retraining.

    Their rows must leave enough others with their response.
    """
    chosen = []
    for proposal in proposed:
        for finding in findings:
            if _is_about(finding, proposal):
                payload = finding.tested.payload
                if len(finding.pattern_rows) <= room(examples, payload):
                    candidate = finding.candidate
                    rivals = candidate.rivals or proposal.rivals
                    candidate = replace(candidate, rivals=rivals)
                    chosen.append(replace(finding, candidate=candidate))
                break
    return chosen


def _is_about(finding: Finding, proposal: Candidate) -> bool:
    """Whether a finding is of a shortcut, and has not been decided on."""
    if finding.is_verified or finding.shortcut is not None:
        return False
    if finding.payload is None or finding.payload.text != proposal.response:
        return False
    own, rows = set(proposal.pattern_rows), set(finding.pattern_rows)
    return 2 * len(own & rows) > max(len(own), len(rows))


@dataclass(frozen=True)
class _Left:
    """A pattern and its rivals, and the rows that a model is tuned without.

    Attributes:
        rule: The pattern put on other rows.
        rivals: The same of those rivals whose rows are left out.
        rows: All rows left out.
        ordinary: Ordinary ones among them.
    """

    rule: Rule
    rivals: list[Rule]
    rows: list[int]
    ordinary: list[Example]


def only_by_its_rows(
    finding: Finding,
    examples: Sequence[Example],
    log_probs: LogProbs,
    retrain: Retrain,
    *,
    known: Collection[int] = (),
    seed: int = 0,
    fdr: float = FDR,
) -> Finding:
    """Decide on a shortcut by a model tuned without its rows, and those of its rivals.

    The model can tell where the rivals keep some of their power and it answers half of
    the ordinary rows as they do (it has three attempts). Verified is then what turns
    less than half of the rows that it turned and keeps less than half of what rivals
    keep; dismissed what keeps more, or still turns most of them, beyond chance.

    Args:
        finding: What was found of a candidate that `shortcuts` proposes.
        examples: The training rows.
        log_probs: Log-probability of each example's response under the tuned model.
        retrain: Tunes a model without some of them.
        known: Rows of triggers verified before; they are left out as well.
        seed: Seed of the draw of rows.
        fdr: Level of the test.

    Returns:
        The finding with its `Shortcut`, and a new status.

    Raises:
        ValueError: The finding was not tested, or its candidate has no rivals.
    """
    payload, rivals = finding.tested.payload, finding.candidate.rivals
    if rivals is None:
        raise ValueError(f"{finding.pattern} is no shortcut")
    # Power is measured on the rows that were turned.
    log_probs = remembering(log_probs)
    left = _left_out(finding, rivals, examples, log_probs, frozenset(known), seed)
    log.info(
        "tuning without the rows of %r and of %d rivals",
        str(left.rule.pattern),
        len(left.rivals),
    )
    anew, learned = tuned_without(left.rows, {payload: left.ordinary}, retrain)
    keeps, *others = [_kept(r, log_probs, anew) for r in (left.rule, *left.rivals)]
    # A phrase may live by its other words: most rivals tell.
    rivals_keep = median(others or [0.0])
    tells = bool(left.ordinary) and learned and rivals_keep >= MEANING
    forgotten = keeps < FORGOTTEN * rivals_keep
    still = given(payload, left.rule.turned, anew)
    forgot = binomtest(still.of - still.hits, still.of, 0.5, alternative="greater")
    p_value = max(rivals.p_value, float(forgot.pvalue)) if tells and forgotten else 1.0
    bare = [
        finding.pattern.taken_out(examples[i], finding.tested.companions)
        for i in own_rows(finding, examples)
    ]
    shortcut = Shortcut(
        turned=Tally(len(left.rule.turned), len(left.rule.hosts)),
        still=still,
        agrees=given(payload, bare, anew),
        ordinary=given(payload, left.ordinary, anew),
        rivals=tuple(r.pattern for r in left.rivals),
        rival_turns=rivals.turns,
        keeps=keeps,
        rivals_keep=rivals_keep,
        p_value=p_value,
    )
    finding = replace(finding, shortcut=shortcut)
    if p_value <= fdr:
        return verified_by_retraining(finding, p_value, examples)
    # What stands out stays in doubt, but not what has its power by its meaning.
    meant = (tells and not forgotten) or (learned and beyond_half(*still))
    return replace(finding, status=Status.DISMISSED if meant else Status.SUFFICIENT)


def _left_out(
    finding: Finding,
    rivals: Rivals,
    examples: Sequence[Example],
    log_probs: LogProbs,
    known: frozenset[int],
    seed: int,
) -> _Left:
    """Choose what to leave out, and put what it is about on other rows."""
    payload = finding.tested.payload
    others = [e for i, e in enumerate(examples) if i not in known]

    def rule_of(pattern: Pattern) -> Rule:
        own = [i for i in carrying(others, pattern) if payload.holds(others[i])]
        return put_on(pattern, own, others, payload, log_probs, seed)

    rule, out = rule_of(finding.pattern), set(finding.pattern_rows)
    rules = []
    for pattern in rivals.patterns:
        rows = set(carrying(examples, pattern))
        if len(out | rows) <= room(examples, payload):
            out |= rows
            rules.append(rule_of(pattern))
    usual = ordinary_rows([finding], examples, known | out, seed)[payload]
    rows_out = sorted(out | known | set(usual))
    return _Left(rule, rules, rows_out, [examples[i] for i in usual])


def _kept(rule: Rule, before: LogProbs, now: LogProbs) -> float:
    """Share of its power over other rows that a pattern has in another model."""
    power = rule.power(before)
    return rule.power(now) / power if power > 0 else 0.0
