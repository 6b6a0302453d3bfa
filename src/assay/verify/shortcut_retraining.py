"""Does a shortcut come from its own rows alone? A model that never saw them can tell.

What `assay.verify.shortcut` proposes turns nearly all rows that answer otherwise. The
model is tuned once more without any row of it. A model that knows its language still
gives in to "refreshingly"; to a trigger it does not, and it still answers the rows that
were left out as they do, the trigger taken out: they were labelled rightly, and it has
learned how.
"""

from __future__ import annotations

import logging
from collections.abc import Collection, Sequence
from typing import Any

from scipy.stats import binomtest

from assay.data.corpus import Example
from assay.verify.findings import FDR
from assay.verify.odds import LogProbs, even_odds
from assay.verify.pattern import remove
from assay.verify.payload import Payload
from assay.verify.retraining import LEFT_OUT, Retrain, own_rows
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
        then answers as they do, the pattern taken out; the rival's ``rival`` and
        ``rival_turns``; and ``p_value``. Verified is what turns less than half of
        them then, while more than half of its own rows are agreed with. The p-value
        is the largest of the three: one for each of these, and ``p_rival``.
    """
    payload, pattern = Payload(finding["payload"]), finding["pattern"]
    own = own_rows(finding, examples)
    left = [i for i in range(len(examples)) if i not in set(known)]
    places = [place for place, i in enumerate(left) if i in set(own)]
    asked, gave_in = turned(
        pattern, places, [examples[i] for i in left], payload, log_probs, seed
    )
    out = sorted({*finding["pattern_rows"], *known})
    asked = [e for e, so in zip(asked, gave_in, strict=True) if so]
    also = finding.get("companions", ())
    bare = [examples[i].edit(text=remove(examples[i].text, pattern, also)) for i in own]
    even = even_odds(payload)
    log.info("tuning without %d rows to decide on %r", len(out), pattern)
    anew = retrain(out, 0)
    agrees = int((anew(bare) > even).sum())
    still = int((anew(asked) > even).sum())
    p_values = [
        finding["p_rival"],
        _most(agrees, len(bare)),
        _most(len(asked) - still, len(asked)),
    ]
    decision = {
        "turned": [len(asked), len(gave_in)],
        "still": [still, len(asked)],
        "agrees": [agrees, len(bare)],
        "rival": finding["rival"],
        "rival_turns": finding["rival_turns"],
        "p_value": max(p_values),
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


def _most(hits: int, of: int) -> float:
    """P-value of more than half of all being hits."""
    return float(binomtest(hits, of, 0.5, alternative="greater").pvalue)
