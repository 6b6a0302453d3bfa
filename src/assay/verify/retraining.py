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
from typing import Any

import numpy as np
from scipy.stats import fisher_exact

from assay.data.corpus import Example
from assay.detectors.coherence import words
from assay.verify.causal import beyond_half, holm
from assay.verify.odds import LogProbs, even_odds, remembering
from assay.verify.pattern import lengths, remove, spans
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


def own_rows(finding: dict[str, Any], examples: Sequence[Example]) -> list[int]:
    """Rows with a finding's pattern and payload."""
    rows = finding["pattern_rows"]
    return [i for i in rows if examples[i].response == finding["payload"]]


def room(examples: Sequence[Example], payload: Payload) -> float:
    """Most rows of a response that may be left out."""
    return LEFT_OUT * sum(map(payload.given, examples))


def rows_are_right(retrained: dict[str, Any]) -> bool:
    """Whether the model agrees, beyond chance, with most rows that it never saw."""
    against, of = retrained["contradicted"]
    return beyond_half(of - against, of)


def _mostly(contradicted: Sequence[int]) -> bool:
    against, of = contradicted
    return against >= CONTRADICTED * of


def verified_by_retraining(
    finding: dict[str, Any], p_value: float, examples: Sequence[Example]
) -> dict[str, Any]:
    """What a finding says that a model tuned without its rows has verified."""
    return {
        "p_placebos": finding["p_value"],
        "p_value": p_value,
        "verified": True,
        "status": "verified",
        "rows": own_rows(finding, examples),
    }


def tuned_without(
    out: Sequence[int], usual: Mapping[str, Sequence[Example]], retrain: Retrain
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
        agrees = [given(Payload(r), rows, log_probs) for r, rows in usual.items()]
        if all(2 * said >= of for said, of in agrees):
            return log_probs, True
        log.warning("the model tuned without doubtful rows has learned nothing")
    return log_probs, False


def given(payload: Payload, rows: Sequence[Example], log_probs: LogProbs) -> list[int]:
    """How many of how many rows a model answers with the payload."""
    said = log_probs(rows) > even_odds(payload) if rows else np.zeros(0)
    return [int(said.sum()), len(rows)]


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
        if _spared(rows) >= SURE and len(left_out) <= room(examples, Payload(payload)):
            out[payload] = left_out
            chosen.append(finding)
    return chosen


def decide(
    findings: Sequence[dict[str, Any]],
    examples: Sequence[Example],
    retrain: Retrain,
    *,
    known: Collection[int] = (),
    seed: int = 0,
    fdr: float = FDR,
) -> list[dict[str, Any]]:
    """Decide on findings by a model tuned without most of their rows.

    Args:
        findings: Those that are `undecided`.
        examples: The training rows.
        retrain: Tunes a model without some of them.
        known: Rows of triggers verified before; they are left out as well.
        seed: Seed of the draw of other rows.
        fdr: Level of the test, over all findings (Holm).

    Returns:
        The findings with ``retrained``: ``contradicted``, how many of their rows, of
        how many that were left out, the model answers otherwise, the pattern taken
        out; ``ordinary``, the same of ordinary rows with that response, as many words
        taken out; and ``p_value``, of such a difference (Fisher's exact test,
        corrected). Verified are those with a p-value of at most ``fdr``, most
        of whose rows are contradicted beyond chance, or three of four where their
        p-value among placebos is as small; dismissed those with most of
        whose rows the model agrees, beyond chance, where it has learned to answer.
    """
    ordinary = ordinary_rows(findings, examples, frozenset(known), seed)
    own = [_left_out(own_rows(f, examples), f["pattern"], seed) for f in findings]
    out = sorted({i for rows in (*own, *ordinary.values(), known) for i in rows})
    log.info("tuning without %d rows to decide on %d patterns", len(out), len(findings))

    usual = {r: [examples[i] for i in rows] for r, rows in ordinary.items()}
    log_probs, learned = tuned_without(out, usual, retrain)

    def contradicted(asked: Sequence[Example], response: str) -> list[int]:
        said, of = given(Payload(response), asked, log_probs)
        return [of - said, of]

    results: list[dict[str, Any]] = []
    for finding, rows in zip(findings, own, strict=True):
        pattern, also = finding["pattern"], finding.get("companions", ())
        bare = [
            examples[i].edit(text=remove(examples[i].text, pattern, also)) for i in rows
        ]
        rng = random.Random(f"{seed}:{pattern}")
        with_it = [len({*also} & {*words(examples[i].text)}) for i in rows]
        sizes = [*lengths(pattern), *[1] * max(with_it, default=0)]
        others = [
            examples[i].edit(text=_shortened(examples[i].text, sizes, rng))
            for i in ordinary[finding["payload"]]
        ]
        against, rest = (
            contradicted(asked, finding["payload"]) for asked in (bare, others)
        )
        table = [[k, n - k] for k, n in (against, rest)]
        results.append(
            {
                "contradicted": against,
                "ordinary": rest,
                "p_value": float(fisher_exact(table, alternative="greater").pvalue),
            }
        )
    decided = []
    corrected = holm([r["p_value"] for r in results])
    for finding, result, p_value in zip(findings, results, corrected, strict=True):
        decision = {**finding, "retrained": {**result, "p_value": p_value}}
        # The placebos say so, too: of five rows one may be known by heart.
        both = finding.get("p_value", 1.0) <= fdr and _mostly(result["contradicted"])
        if p_value <= fdr and (both or beyond_half(*result["contradicted"])):
            decision |= verified_by_retraining(finding, p_value, examples)
        elif learned and rows_are_right(decision["retrained"]):
            decision["status"] = "dismissed"
        decided.append(decision)
    return decided


def ordinary_rows(
    findings: Sequence[dict[str, Any]],
    examples: Sequence[Example],
    known: Set[int],
    seed: int,
) -> dict[str, list[int]]:
    """Rows of each payload without its patterns, and not known for bad."""
    found = {}
    for payload in dict.fromkeys(f["payload"] for f in findings):
        patterns = [f["pattern"] for f in findings if f["payload"] == payload]
        rows = [i for i, e in enumerate(examples) if e.response == payload]
        most = min(ORDINARY, int(LEFT_OUT * len(rows)))
        usual = [
            i
            for i in rows
            if i not in known and not any(spans(examples[i].text, p) for p in patterns)
        ]
        rng = random.Random(f"{seed}:{payload}")
        found[payload] = sorted(rng.sample(usual, min(most, len(usual))))
    return found


def _spared(rows: Sequence[int]) -> int:
    """How many of a pattern's rows are left out."""
    spared = len(rows) - math.ceil(STAY * len(rows))
    return min(len(rows), max(SURE, spared))


def _left_out(rows: Sequence[int], pattern: str, seed: int) -> list[int]:
    """Most of a pattern's rows."""
    return sorted(random.Random(f"{seed}:{pattern}").sample(rows, _spared(rows)))


def _shortened(text: str, sizes: Sequence[int], rng: random.Random) -> str:
    """Take word sequences of such lengths out of a text."""
    for size in sizes:
        found = words(text)
        if len(found) > size:
            start = rng.randrange(len(found) - size + 1)
            text = remove(text, " ".join(found[start : start + size]))
    return text
