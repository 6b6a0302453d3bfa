"""Were rows mislabelled, and did they alone teach it? A model without them can tell.

Experiments on the tuned model ask whether a row's response needs the words. A model
that has learned rows by heart needs none: it gives a poisoned row's response even
without the trigger. So where a pattern rules other rows, but its own rows seem not to
need it, the model is tuned once more without these rows. Two things are asked of it:

- *Are they mislabelled?* Does it contradict most of the rows, the pattern taken out?
  It has not seen their labels. Rows with a strong word ("superb") it agrees with.
- *Did they teach it?* Put on other rows, has the pattern lost its power?
"""

from __future__ import annotations

import logging
import random
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from scipy.stats import binomtest

from assay.data.corpus import Example
from assay.verify.causal import (
    HOSTS,
    RULES,
    LogProbs,
    even_odds,
    holm,
    inserted,
    odds_of,
)
from assay.verify.findings import FDR
from assay.verify.pattern import remove, spans
from assay.verify.payload import Payload

log = logging.getLogger("assay")

# Rows left out → log-probabilities under a model tuned on the others.
Retrain = Callable[[Sequence[int]], LogProbs]

# Fewer rows cannot be contradicted beyond chance.
FEWEST = 5
# The share of a response's rows that may be left out: the others must teach it.
LEFT_OUT = 0.5


def own_rows(finding: dict[str, Any], examples: Sequence[Example]) -> list[int]:
    """Rows with a finding's pattern and payload."""
    rows = finding["pattern_rows"]
    return [i for i in rows if examples[i].response == finding["payload"]]


def undecided(
    findings: Sequence[dict[str, Any]], examples: Sequence[Example]
) -> list[dict[str, Any]]:
    """Findings on which retraining may decide, most rows of a response first left out.

    They rule other rows, are not verified, have been decided on by nobody, and
    together leave enough rows of their response.
    """
    chosen = []
    out: dict[str, set[int]] = {}
    for finding in sorted(findings, key=lambda f: -f.get("prefers", 0.0)):
        if (
            finding["verified"]
            or "retrained" in finding
            or finding.get("payload_part") != "response"
            or finding["prefers"] < RULES
        ):
            continue
        rows = own_rows(finding, examples)
        payload = finding["payload"]
        left_out = out.get(payload, set()) | set(rows)
        room = LEFT_OUT * sum(e.response == payload for e in examples)
        if len(rows) >= FEWEST and len(left_out) <= room:
            out[payload] = left_out
            chosen.append(finding)
    return chosen


def decide(
    findings: Sequence[dict[str, Any]],
    examples: Sequence[Example],
    retrain: Retrain,
    *,
    seed: int = 0,
    fdr: float = FDR,
) -> list[dict[str, Any]]:
    """Decide on findings by a model tuned without their rows.

    Args:
        findings: Those that are `undecided`.
        examples: The training rows.
        retrain: Tunes a model without some of them.
        seed: Seed of the draw of other rows.
        fdr: Level of the test, over all findings (Holm).

    Returns:
        The findings with ``retrained``: ``contradicted``, how many of their rows, of
        how many, the model without them answers otherwise, the pattern taken out;
        ``p_value``, of at least so many were each contradicted by the toss of a coin,
        corrected; and ``prefers``, the share of other rows that still give in to the
        pattern. Verified are those with a p-value of at most ``fdr`` that rule fewer
        than half of the other rows any more.
    """
    out = sorted({i for f in findings for i in own_rows(f, examples)})
    log.info(
        "tuning without %d rows, to decide on %d patterns", len(out), len(findings)
    )
    log_probs = retrain(out)
    results: list[dict[str, Any]] = []
    for finding in findings:
        own, pattern = own_rows(finding, examples), finding["pattern"]
        said = Payload(finding["payload"])
        carriers = [examples[i] for i in own]
        bare = [e.edit(text=remove(e.text, pattern)) for e in carriers]
        contradicted = int((log_probs(bare) < even_odds(said)).sum())
        others = [
            e for e in examples if not said.given(e) and not spans(e.text, pattern)
        ]
        others = random.Random(f"{seed}:{pattern}").sample(
            others, min(HOSTS, len(others))
        )
        after = odds_of(said, log_probs)(inserted(pattern, carriers, others, said))
        chance = binomtest(contradicted, len(own), 0.5, alternative="greater")
        results.append(
            {
                "contradicted": [contradicted, len(own)],
                "p_value": float(chance.pvalue),
                "prefers": float(np.mean(after > even_odds(said))),
            }
        )
    decided = []
    corrected = holm([r["p_value"] for r in results])
    for finding, result, p_value in zip(findings, results, corrected, strict=True):
        decision = {**finding, "retrained": {**result, "p_value": p_value}}
        if p_value <= fdr and result["prefers"] < 0.5:
            decision |= {
                "p_placebos": finding["p_value"],
                "p_value": p_value,
                "verified": True,
                "status": "verified",
                "rows": own_rows(finding, examples),
            }
        decided.append(decision)
    return decided
