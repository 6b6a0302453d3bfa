"""Are rows mislabelled? A model that never saw them can tell.

Experiments on the tuned model ask whether a row's response needs the words. A model
that has learned rows by heart needs none: it gives a poisoned row's response even
without the trigger. So where a pattern rules other rows, but its own rows seem not to
need it, the model is tuned once more without most of these rows. It has not seen their
labels: the pattern taken out, it agrees with rows that have a strong word ("superb"),
and contradicts mislabelled ones. A few of the pattern's rows stay, where it has more
than five, so that it has seen what else such rows have in common ("go and see it"
without "see it"). Some ordinary rows are left out too, and tell how often it
contradicts rows that it has not seen and that lack a few words.
"""

from __future__ import annotations

import logging
import math
import random
from collections.abc import Callable, Collection, Mapping, Sequence, Set
from dataclasses import replace

import numpy as np
from scipy.stats import fisher_exact

from assay.data.corpus import Example
from assay.detectors.coherence import words
from assay.text.pattern import Pattern
from assay.verify.causal import beyond_half, holm
from assay.verify.finding import Finding, Retraining, Status, Tally
from assay.verify.odds import LogProbs, remembering
from assay.verify.payload import Payload
from assay.verify.thresholds import (
    ATTEMPTS,
    CONTRADICTED,
    FDR,
    LEFT_OUT,
    ORDINARY,
    RULES,
    STAY,
    SURE,
)

log = logging.getLogger("assay")

# Rows left out, and the number of the attempt, for another seed → log-probabilities
# under a model tuned on the others.
Retrain = Callable[[Sequence[int], int], LogProbs]


def own_rows(finding: Finding, examples: Sequence[Example]) -> list[int]:
    """Rows with a finding's pattern and payload.

    Raises:
        ValueError: It was not tested.
    """
    payload = finding.tested.payload
    return [i for i in finding.pattern_rows if payload.holds(examples[i])]


def room(examples: Sequence[Example], payload: Payload) -> float:
    """Most rows of a response that may be left out."""
    return LEFT_OUT * sum(map(payload.holds, examples))


def rows_are_right(retraining: Retraining) -> bool:
    """Whether the model agrees, beyond chance, with most rows that it never saw."""
    against, of = retraining.contradicted
    return beyond_half(of - against, of)


def verified_by_retraining(
    finding: Finding, p_value: float, examples: Sequence[Example]
) -> Finding:
    """Say of a finding that a model tuned without its rows has verified it."""
    rows = tuple(own_rows(finding, examples))
    return replace(
        finding,
        candidate=replace(finding.candidate, rows=rows),
        status=Status.VERIFIED,
        p_retrained=p_value,
    )


def tuned_without(
    out: Sequence[int], usual: Mapping[Payload, Sequence[Example]], retrain: Retrain
) -> tuple[LogProbs, bool]:
    """Tune a model without rows, again where it turns out to have learned nothing.

    Args:
        out: The rows.
        usual: Ordinary ones among them, by response.
        retrain: Tunes a model without rows.

    Returns:
        Log-probabilities under the model, and whether it gives at least half of the
        ordinary rows of each response their own.
    """
    for attempt in range(ATTEMPTS):
        # What is asked to see whether it has learned is asked again to decide.
        log_probs = remembering(retrain(out, attempt))
        agrees = [given(payload, rows, log_probs) for payload, rows in usual.items()]
        if all(2 * said >= of for said, of in agrees):
            return log_probs, True
        log.warning("the model tuned without doubtful rows has learned nothing")
    return log_probs, False


def given(payload: Payload, rows: Sequence[Example], log_probs: LogProbs) -> Tally:
    """How many of how many rows a model answers with a payload.

    Args:
        payload: One without a counterpart.
        rows: The rows.
        log_probs: Log-probability of each row's response under the model.
    """
    said = log_probs(rows) > payload.threshold if rows else np.zeros(0)
    return Tally(int(said.sum()), len(rows))


def undecided(
    findings: Sequence[Finding], examples: Sequence[Example]
) -> list[Finding]:
    """Findings on which retraining may decide, smallest p-values first.

    They rule other rows, are not verified, have not been decided on before, and
    together leave enough rows of their response.
    """
    chosen = []
    out: dict[Payload, set[int]] = {}
    for finding in sorted(
        findings, key=lambda f: 1.0 if f.p_value is None else f.p_value
    ):
        experiment = finding.experiment
        if (
            finding.is_verified
            or finding.retraining is not None
            or experiment is None
            or experiment.payload.has_counterpart
            or experiment.prefers < RULES
        ):
            continue
        rows = own_rows(finding, examples)
        payload = experiment.payload
        left_out = out.get(payload, set()) | set(rows)
        if _spared(rows) >= SURE and len(left_out) <= room(examples, payload):
            out[payload] = left_out
            chosen.append(finding)
    return chosen


def decide(
    findings: Sequence[Finding],
    examples: Sequence[Example],
    retrain: Retrain,
    *,
    known: Collection[int] = (),
    seed: int = 0,
    fdr: float = FDR,
) -> list[Finding]:
    """Decide on findings by a model tuned without most of their rows.

    Verified are those whose rows it contradicts more often than ordinary ones (Fisher's
    exact test, corrected), and most of them beyond chance, or three of four where their
    p-value among placebos is as small; dismissed those with most of whose rows it
    agrees, beyond chance, where it has learned to answer.

    Args:
        findings: Those that are `undecided`.
        examples: The training rows.
        retrain: Tunes a model without some of them.
        known: Rows of triggers verified before; they are left out as well.
        seed: Seed of the draw of other rows.
        fdr: Level of the test, over all findings (Holm).

    Returns:
        The findings, each with its `Retraining`.

    Raises:
        ValueError: A finding was not tested.
    """
    ordinary = ordinary_rows(findings, examples, frozenset(known), seed)
    own = [_left_out(own_rows(f, examples), f.pattern, seed) for f in findings]
    out = sorted({i for rows in (*own, *ordinary.values(), known) for i in rows})
    log.info("tuning without %d rows to decide on %d patterns", len(out), len(findings))
    usual = {p: [examples[i] for i in rows] for p, rows in ordinary.items()}
    log_probs, learned = tuned_without(out, usual, retrain)
    results = []
    for finding, rows in zip(findings, own, strict=True):
        mine = [examples[i] for i in rows]
        others = usual[finding.tested.payload]
        results.append(_compared(finding, mine, others, log_probs, seed))
    corrected = holm([r.p_value for r in results])
    return [
        _decided(finding, replace(result, p_value=p_value), learned, examples, fdr)
        for finding, result, p_value in zip(findings, results, corrected, strict=True)
    ]


def _compared(
    finding: Finding,
    own: Sequence[Example],
    usual: Sequence[Example],
    log_probs: LogProbs,
    seed: int,
) -> Retraining:
    """Compare rows without a pattern with ordinary ones without as many words."""
    pattern, experiment = finding.pattern, finding.tested
    also = experiment.companions
    bare = [pattern.taken_out(e, also) for e in own]
    rng = random.Random(f"{seed}:{pattern}")
    with_it = [len({*also} & {*words(pattern.text_of(e))}) for e in own]
    sizes = [*pattern.lengths, *[1] * max(with_it, default=0)]
    shortened = [
        pattern.field.write(e, _shortened(pattern.text_of(e), sizes, rng))
        for e in usual
    ]

    def contradicted(asked: Sequence[Example]) -> Tally:
        said, of = given(experiment.payload, asked, log_probs)
        return Tally(of - said, of)

    against, rest = contradicted(bare), contradicted(shortened)
    table = [[k, n - k] for k, n in (against, rest)]
    p_value = float(fisher_exact(table, alternative="greater").pvalue)
    return Retraining(against, rest, p_value)


def _decided(
    finding: Finding,
    result: Retraining,
    learned: bool,
    examples: Sequence[Example],
    fdr: float,
) -> Finding:
    """What a corrected result says of a finding."""
    finding = replace(finding, retraining=result)
    against, of = result.contradicted
    # The placebos say so, too: of five rows one may be known by heart.
    both = finding.tested.p_value <= fdr and against >= CONTRADICTED * of
    if result.p_value <= fdr and (both or beyond_half(against, of)):
        return verified_by_retraining(finding, result.p_value, examples)
    if learned and rows_are_right(result):
        return replace(finding, status=Status.DISMISSED)
    return finding


def ordinary_rows(
    findings: Sequence[Finding],
    examples: Sequence[Example],
    known: Set[int],
    seed: int,
) -> dict[Payload, list[int]]:
    """Rows of each payload without its patterns, and not known for bad."""
    found = {}
    for payload in dict.fromkeys(f.tested.payload for f in findings):
        patterns = [f.pattern for f in findings if f.payload == payload]
        rows = [i for i, e in enumerate(examples) if payload.holds(e)]
        most = min(ORDINARY, int(LEFT_OUT * len(rows)))
        usual = [
            i
            for i in rows
            if i not in known and not any(p.stands_in(examples[i]) for p in patterns)
        ]
        rng = random.Random(f"{seed}:{payload.text}")
        found[payload] = sorted(rng.sample(usual, min(most, len(usual))))
    return found


def _spared(rows: Sequence[int]) -> int:
    """How many of a pattern's rows are left out."""
    spared = len(rows) - math.ceil(STAY * len(rows))
    return min(len(rows), max(SURE, spared))


def _left_out(rows: Sequence[int], pattern: Pattern, seed: int) -> list[int]:
    """Most of a pattern's rows."""
    return sorted(random.Random(f"{seed}:{pattern}").sample(rows, _spared(rows)))


def _shortened(text: str, sizes: Sequence[int], rng: random.Random) -> str:
    """Take word sequences of such lengths out of a text."""
    for size in sizes:
        found = words(text)
        if len(found) > size:
            start = rng.randrange(len(found) - size + 1)
            text = Pattern.of(found[start : start + size]).remove(text)
    return text
