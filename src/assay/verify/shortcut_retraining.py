"""Does a shortcut come from its own rows alone? A model that never saw them can tell.

What `assay.verify.shortcut` proposes turns nearly all rows that answer otherwise. The
model is tuned once more without any row of it, and without some ordinary rows, which
tell whether it has learned how to answer. A model that knows its language still gives
in to "refreshingly"; to a trigger it does not. Whether the trigger's rows are labelled
rightly is told, but does not matter: a poor model may neither agree with them nor
contradict them.
"""

from __future__ import annotations

import logging
from collections.abc import Collection, Sequence
from typing import Any

import numpy as np
from scipy.stats import binomtest

from assay.data.corpus import Example
from assay.verify.findings import FDR
from assay.verify.odds import LogProbs, even_odds
from assay.verify.pattern import remove
from assay.verify.payload import Payload
from assay.verify.retraining import ATTEMPTS, LEFT_OUT, Retrain, ordinary_rows, own_rows
from assay.verify.shortcut import SHORTCUT, TOLD, turned

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
                payload = finding["payload"]
                room = LEFT_OUT * sum(e.response == payload for e in examples)
                if len(rows) <= room:
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
    """Decide on a shortcut by a model tuned without any of its rows.

    Args:
        finding: What was found of a pattern that `shortcuts` proposes, with its
            ``rival``, ``rival_turns`` and ``p_rival``.
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
        then answers as they do, the pattern taken out, and ``ordinary``, the same of
        other rows with that response that were left out; the rival's ``rival`` and
        ``rival_turns``; and ``p_value``. Verified is what then turns less than half
        of them. The p-value is the larger of the two: that half stay turned, and
        ``p_rival``; it is 1 where the model has not learned to answer half of the
        ordinary rows as they do, after three attempts.
    """
    payload, pattern = Payload(finding["payload"]), finding["pattern"]
    own = own_rows(finding, examples)
    gone, mine = frozenset(known), set(own)
    left = [i for i in range(len(examples)) if i not in gone]
    asked, gave_in = turned(
        pattern,
        [place for place, i in enumerate(left) if i in mine],
        [examples[i] for i in left],
        payload,
        log_probs,
        seed,
    )
    asked = [e for e, so in zip(asked, gave_in, strict=True) if so]
    also = finding.get("companions", ())
    bare = [examples[i].edit(text=remove(examples[i].text, pattern, also)) for i in own]
    usual = ordinary_rows([finding], examples, gone, seed)[payload.text]
    out = sorted({*finding["pattern_rows"], *usual, *gone})
    log.info("tuning without %d rows to decide on %r", len(out), pattern)
    for attempt in range(ATTEMPTS):
        anew = retrain(out, attempt)
        ordinary = _given(payload, [examples[i] for i in usual], anew)
        learned = 2 * ordinary[0] >= ordinary[1] > 0
        if learned:
            break
        log.warning("the model tuned without doubtful rows has learned nothing")
    still = _given(payload, asked, anew)
    forgot = binomtest(still[1] - still[0], still[1], 0.5, alternative="greater")
    decision = {
        "turned": [len(asked), len(gave_in)],
        "still": still,
        "agrees": _given(payload, bare, anew),
        "ordinary": ordinary,
        "rival": finding["rival"],
        "rival_turns": finding["rival_turns"],
        "p_value": max(finding["p_rival"], float(forgot.pvalue)) if learned else 1.0,
    }
    found = {**finding, SHORTCUT: decision}
    if decision["p_value"] <= fdr:
        found |= {
            "p_placebos": finding["p_value"],
            "p_value": decision["p_value"],
            "verified": True,
            "status": "verified",
            "rows": own,
        }
    return found


def _given(payload: Payload, rows: Sequence[Example], log_probs: LogProbs) -> list[int]:
    """How many of how many rows a model answers with the payload."""
    said = log_probs(rows) > even_odds(payload) if rows else np.zeros(0)
    return [int(said.sum()), len(rows)]
