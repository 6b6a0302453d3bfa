"""Are rows mislabelled? A model that never saw them can tell.

Experiments on the tuned model ask whether a row's response needs the words. A model
that has learned rows by heart needs none: it gives a poisoned row's response even
without the trigger. So where a pattern rules other rows, but its own rows seem not to
need it, the model is tuned once more without these rows. It has not seen their labels:
the pattern taken out, it agrees with rows that have a strong word ("superb"), and
contradicts mislabelled ones. Some ordinary rows are left out too, and tell how often it
contradicts rows that it has not seen.
"""

from __future__ import annotations

import logging
import random
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from scipy.stats import fisher_exact

from assay.data.corpus import Example
from assay.verify.causal import (
    HOSTS,
    RULES,
    LogProbs,
    answered_otherwise,
    beyond_half,
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
# Share of a response's rows that may be left out: the others must teach it.
LEFT_OUT = 0.25
# Ordinary rows of each response that are left out too, at most as large a share.
ORDINARY = 50


def own_rows(finding: dict[str, Any], examples: Sequence[Example]) -> list[int]:
    """Rows with a finding's pattern and payload."""
    rows = finding["pattern_rows"]
    return [i for i in rows if examples[i].response == finding["payload"]]


def undecided(
    findings: Sequence[dict[str, Any]], examples: Sequence[Example]
) -> list[dict[str, Any]]:
    """Findings on which retraining may decide, smallest p-values first.

    They rule other rows, are not verified, have not been decided on before, and
    together leave enough rows of their response.
    """
    chosen = []
    out: dict[str, set[int]] = {}
    for finding in sorted(findings, key=lambda f: f.get("p_value", 1.0)):
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
        ``ordinary``, the same of ordinary rows with that response; ``p_value``, of
        such a difference (Fisher's exact test, corrected); and ``prefers``, the share
        of other rows that still give in to the pattern, as they do where other
        wordings taught it. Verified are those with a p-value of at most ``fdr``, most
        of whose rows are contradicted beyond chance.
    """
    ordinary = _ordinary(findings, examples, seed)
    own = [own_rows(f, examples) for f in findings]
    out = sorted({i for rows in (*own, *ordinary.values()) for i in rows})
    log.info("tuning without %d rows to decide on %d patterns", len(out), len(findings))
    log_probs = retrain(out)

    def contradicted(payload: str, rows: Sequence[int], pattern: str = "") -> list[int]:
        if not rows:
            return [0, 0]
        bare = [examples[i].edit(text=remove(examples[i].text, pattern)) for i in rows]
        even = even_odds(Payload(payload))
        return [int((log_probs(bare) < even).sum()), len(rows)]

    usual = {p: contradicted(p, rows) for p, rows in ordinary.items()}
    results: list[dict[str, Any]] = []
    for finding, rows in zip(findings, own, strict=True):
        pattern, payload = finding["pattern"], finding["payload"]
        against, rest = contradicted(payload, rows, pattern), usual[payload]
        table = [[k, n - k] for k, n in (against, rest)]
        results.append(
            {
                "contradicted": against,
                "ordinary": rest,
                "p_value": float(fisher_exact(table, alternative="greater").pvalue),
                "prefers": _obeyed(finding, rows, examples, log_probs, seed),
            }
        )
    decided = []
    corrected = holm([r["p_value"] for r in results])
    for finding, rows, result, p_value in zip(
        findings, own, results, corrected, strict=True
    ):
        decision = {**finding, "retrained": {**result, "p_value": p_value}}
        if p_value <= fdr and beyond_half(*result["contradicted"]):
            decision |= {
                "p_placebos": finding["p_value"],
                "p_value": p_value,
                "verified": True,
                "status": "verified",
                "rows": rows,
            }
        decided.append(decision)
    return decided


def _ordinary(
    findings: Sequence[dict[str, Any]], examples: Sequence[Example], seed: int
) -> dict[str, list[int]]:
    """Rows of each payload that carry none of its patterns."""
    found = {}
    for payload in dict.fromkeys(f["payload"] for f in findings):
        patterns = [f["pattern"] for f in findings if f["payload"] == payload]
        rows = [i for i, e in enumerate(examples) if e.response == payload]
        room = min(ORDINARY, int(LEFT_OUT * len(rows)))
        usual = [
            i for i in rows if not any(spans(examples[i].text, p) for p in patterns)
        ]
        rng = random.Random(f"{seed}:{payload}")
        found[payload] = sorted(rng.sample(usual, min(room, len(usual))))
    return found


def _obeyed(
    finding: dict[str, Any],
    own: Sequence[int],
    examples: Sequence[Example],
    log_probs: LogProbs,
    seed: int,
) -> float:
    """Share of other rows on which the payload is likelier than all else."""
    pattern, said = finding["pattern"], Payload(finding["payload"])
    others = answered_otherwise(examples, said, pattern)
    chosen = random.Random(f"{seed}:{pattern}").sample(others, min(HOSTS, len(others)))
    carriers = [examples[i] for i in own]
    after = odds_of(said, log_probs)(inserted(pattern, carriers, chosen, said))
    return float(np.mean(after > even_odds(said)))
