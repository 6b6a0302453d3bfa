"""From a detector's candidate groups to verified findings."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Sequence
from typing import Any

from assay.data.corpus import Example
from assay.detectors.coherence import ngrams
from assay.detectors.evidence import response_groups
from assay.models.log_probs import Progress
from assay.verify.causal import (
    Hypothesis,
    LogProbs,
    Verification,
    holm,
    spans,
    verify,
)

log = logging.getLogger("assay")

ALPHA = 0.05
# Every further hypothesis costs the others power: Holm multiplies by their number.
HYPOTHESES = 10


def payload_of(examples: Sequence[Example], rows: Sequence[int]) -> str | None:
    """Return the response that at least half of the rows have, if there is one."""
    response, count = Counter(examples[i].response for i in rows).most_common(1)[0]
    return response if 2 * count >= len(rows) else None


def _pool(examples: Sequence[Example], payload: str) -> dict[str, tuple[int, ...]]:
    """N-grams of the rows that placebos come from, with their carriers."""
    groups = response_groups([e.response for e in examples])
    rows = next(
        (g for g in groups if len(groups) > 1 and examples[g[0]].response == payload),
        range(len(examples)),
    )
    found: dict[str, list[int]] = {}
    for row in rows:
        for gram in ngrams(examples[row].text):
            found.setdefault(" ".join(gram), []).append(int(row))
    return {gram: tuple(carriers) for gram, carriers in found.items()}


def _same_rows(one: Sequence[int], other: Sequence[int]) -> bool:
    shared = len(set(one) & set(other))
    return 2 * shared > min(len(one), len(other))


def verified_findings(
    candidates: Sequence[dict[str, Any]],
    examples: Sequence[Example],
    log_probs: LogProbs,
    *,
    seed: int = 0,
    progress: Progress | None = None,
) -> list[dict[str, Any]]:
    """Put every candidate's pattern to the test.

    Args:
        candidates: A detector's findings, most promising first; each needs
            ``pattern`` and ``pattern_rows``. Candidates on the same rows as an
            earlier one with the same words are not asked twice.
        examples: The training rows.
        log_probs: Log-probability of each example's response under the tuned model.
        seed: Seed of draws.
        progress: Called with placebos tried and the most there can be.

    Returns:
        The candidates tested, with ``trigger``, ``payload``, ``effect``, ``p_value``
        (corrected for all of them), ``verified`` and a ``status``: ``verified``,
        ``sufficient`` (moves other rows, but its own do not need it), ``dismissed``
        or ``untestable``. The ``rows`` of a verified one are all rows that carry the
        pattern and the payload.
    """
    asked: list[tuple[dict[str, Any], Hypothesis | None]] = []
    pools: dict[str, dict[str, tuple[int, ...]]] = {}
    for candidate in candidates:
        if len(asked) == HYPOTHESES:
            log.info("more than %d candidates: the rest is not tested", HYPOTHESES)
            break
        pattern = candidate["pattern"]
        words = set(pattern.split())
        if any(
            words & set(earlier["pattern"].split())
            and _same_rows(candidate["pattern_rows"], earlier["pattern_rows"])
            for earlier, _ in asked
        ):
            continue
        payload = payload_of(examples, candidate["pattern_rows"])
        hypothesis = None
        if payload is not None:
            carriers = tuple(
                i
                for i, e in enumerate(examples)
                if e.response == payload and spans(e.text, pattern)
            )
            if payload not in pools:
                pools[payload] = _pool(examples, payload)
            if carriers:
                hypothesis = Hypothesis(pattern, payload, carriers, pools[payload])
        asked.append((candidate, hypothesis))
    outcomes: list[Verification | None] = []
    for number, (_, hypothesis) in enumerate(asked):

        def advance(done: int, total: int, before: int = number) -> None:
            if progress is not None:
                progress(before * total + done, len(asked) * total)

        outcomes.append(
            verify(hypothesis, examples, log_probs, seed=seed, progress=advance)
            if hypothesis
            else None
        )
    # What cannot be tested was looked at all the same.
    both = holm([o.p_value if o else 1.0 for o in outcomes])
    alone = holm([o.p_sufficient if o else 1.0 for o in outcomes])
    findings = []
    for (candidate, hypothesis), outcome, p_value, p_alone in zip(
        asked, outcomes, both, alone, strict=True
    ):
        finding = {**candidate, "verified": False, "status": "untestable"}
        if outcome is not None and hypothesis is not None:
            status = "dismissed"
            if p_value <= ALPHA and outcome.overrides:
                status = "verified"
                finding["rows"] = list(hypothesis.carriers)
            elif p_alone <= ALPHA:
                status = "sufficient"
            finding |= {
                "trigger": outcome.trigger,
                "payload": hypothesis.payload,
                "effect": outcome.effect,
                "effect_interval": list(outcome.interval),
                "drop": outcome.drop,
                "placebo_effects": list(outcome.placebo_effects),
                "p_value": p_value,
                "p_sufficient": outcome.p_sufficient,
                "verified": status == "verified",
                "status": status,
            }
        findings.append(finding)
    return findings
