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
from statistics import median
from typing import Any

from scipy.stats import binomtest

from assay.data.corpus import Example
from assay.verify.causal import beyond_half
from assay.verify.findings import carrying
from assay.verify.odds import LogProbs, remembering
from assay.verify.pattern import remove
from assay.verify.payload import Payload
from assay.verify.retraining import (
    Retrain,
    given,
    ordinary_rows,
    own_rows,
    room,
    tuned_without,
    verified_by_retraining,
)
from assay.verify.shortcut import SHORTCUT, TOLD, Rule, put_on
from assay.verify.thresholds import FDR, FORGOTTEN, MEANING

log = logging.getLogger("assay")


def undecided_shortcuts(
    findings: Sequence[dict[str, Any]],
    proposed: Sequence[dict[str, Any]],
    examples: Sequence[Example],
) -> list[dict[str, Any]]:
    """What was found of shortcuts and not verified, and may be decided by retraining.

    Their rows must leave enough others with their response.
    """
    chosen = []
    for shortcut in proposed:
        own = set(shortcut["pattern_rows"])
        for finding in findings:
            rows = set(finding["pattern_rows"])
            if (
                not finding["verified"]
                and SHORTCUT not in finding
                and finding.get("payload") == shortcut["response"]
                and 2 * len(own & rows) > max(len(own), len(rows))
            ):
                if len(rows) <= room(examples, Payload(finding["payload"])):
                    chosen.append({**{k: shortcut[k] for k in TOLD}, **finding})
                break
    return chosen


def only_by_its_rows(
    finding: dict[str, Any],
    examples: Sequence[Example],
    log_probs: LogProbs,
    retrain: Retrain,
    *,
    known: Collection[int] = (),
    seed: int = 0,
    fdr: float = FDR,
) -> dict[str, Any]:
    """Decide on a shortcut by a model tuned without its rows, and those of its rivals.

    Args:
        finding: What was found of a pattern that `shortcuts` proposes, with its
            ``rivals``, ``rival_turns`` and ``p_rival``.
        examples: The training rows.
        log_probs: Log-probability of each example's response under the tuned model.
        retrain: Tunes a model without some of them.
        known: Rows of triggers verified before; they are left out as well.
        seed: Seed of the draw of rows.
        fdr: Level of the test.

    Returns:
        The finding with ``shortcut``: ``turned``, how many other rows of how many the
        pattern turns; ``still``, how many of these it turns when the model is tuned
        without its rows; ``agrees``, how many of its own rows of how many that model
        then answers as they do, the pattern taken out; ``ordinary``, the same of
        other rows with that response that were left out; the ``rivals``, the share
        ``rival_turns`` that the first of them turns; the share of its power over other
        rows that the pattern ``keeps`` (mean change of the payload's log-odds), and
        that ``rivals_keep``, in the median; and ``p_value``. The model can tell where
        the rivals keep some of their power and it answers half of the ordinary rows as
        they do (it has three attempts). Verified is then what turns less than half of
        them and keeps less than half of what rivals keep; dismissed what keeps more,
        or still turns most of them, beyond chance. The p-value is the larger of the
        two: that half stay turned, and ``p_rival``; 1 where the model cannot tell or
        the pattern keeps too much.
    """
    payload = Payload(finding["payload"])
    gone = frozenset(known)
    left = [e for i, e in enumerate(examples) if i not in gone]
    # Power is measured on the rows that were turned.
    log_probs = remembering(log_probs)

    def rule_of(pattern: str) -> Rule:
        own = [i for i in carrying(left, pattern) if payload.given(left[i])]
        return put_on(pattern, own, left, payload, log_probs, seed)

    rule = rule_of(finding["pattern"])
    out = set(finding["pattern_rows"])
    rivals = []
    for pattern in finding["rivals"]:
        rows = set(carrying(examples, pattern))
        if len(out | rows) <= room(examples, payload):
            out |= rows
            rivals.append(rule_of(pattern))
    usual = ordinary_rows([finding], examples, gone | out, seed)[payload.text]
    log.info(
        "tuning without the rows of %r and of %d rivals", rule.pattern, len(rivals)
    )
    rest = [examples[i] for i in usual]
    anew, learned = tuned_without(
        sorted(out | gone | set(usual)), {payload.text: rest}, retrain
    )
    keeps, *others = [_kept(r, log_probs, anew) for r in (rule, *rivals)]
    # A phrase may live by its other words: most rivals tell.
    rivals_keep = median(others or [0.0])
    tells = bool(rest) and learned and rivals_keep >= MEANING
    forgotten = keeps < FORGOTTEN * rivals_keep
    gave_in = [e for e, so in zip(rule.asked, rule.gives_in, strict=True) if so]
    still = given(payload, gave_in, anew)
    forgot = binomtest(still[1] - still[0], still[1], 0.5, alternative="greater")
    p_value = max(finding["p_rival"], float(forgot.pvalue))
    also = finding.get("companions", ())
    bare = [
        examples[i].edit(text=remove(examples[i].text, rule.pattern, also))
        for i in own_rows(finding, examples)
    ]
    decision = {
        "turned": [len(gave_in), len(rule.hosts)],
        "still": still,
        "agrees": given(payload, bare, anew),
        "ordinary": given(payload, rest, anew),
        "rivals": [r.pattern for r in rivals],
        "rival_turns": finding["rival_turns"],
        "keeps": keeps,
        "rivals_keep": rivals_keep,
        "p_value": p_value if tells and forgotten else 1.0,
    }
    found = {**finding, SHORTCUT: decision}
    if decision["p_value"] <= fdr:
        found |= verified_by_retraining(finding, decision["p_value"], examples)
    else:
        # What stands out stays in doubt, but not what has its power by its meaning.
        meant = (tells and not forgotten) or (learned and beyond_half(*still))
        found["status"] = "dismissed" if meant else "sufficient"
    return found


def _kept(rule: Rule, before: LogProbs, now: LogProbs) -> float:
    """Share of its power over other rows that a pattern has in another model."""
    power = rule.power(before)
    return rule.power(now) / power if power > 0 else 0.0
