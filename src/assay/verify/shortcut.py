"""Does one word decide the response, whatever the text says, by its own rows alone?

The rows of a clean-label attack agree with their label, so nothing about them
contradicts it, and none of them needs the trigger. What gives it away is its power: put
on rows that answer otherwise it turns nearly all of them, and no other word of the data
comes near. It is a shortcut (Geirhos et al. 2020) that the model has taken; whether
somebody put it there the data cannot tell, but as it is it can be used.

A model trained from nothing knows each word by its rows alone; there many words rule
alike, none stands out, and nothing is proposed. Strong words have such power, too, by
what they mean: `assay.verify.shortcut_retraining` tells them apart.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy.stats import fisher_exact

from assay.data.corpus import Example
from assay.detectors.candidate import Candidate, Rivals
from assay.text.pattern import Pattern, carrying
from assay.util.progress import Progress
from assay.verify.hypothesis import hosts_for, inserted
from assay.verify.odds import BATCH, LogProbs, remembering
from assay.verify.payload import Payload, Response
from assay.verify.screen import sequences
from assay.verify.thresholds import (
    COMPARED,
    FDR,
    FIRST_HOSTS,
    NEARLY_ALL,
    RIVALS,
    STRONGEST,
    TURNED,
    WORKS,
)

log = logging.getLogger("assay")

SHORTCUT = "shortcut"


@dataclass(frozen=True)
class Rule:
    """A word sequence put on rows that answer otherwise.

    Attributes:
        pattern: The word sequence.
        rows: Rows that have it and the payload.
        hosts: Rows on which the model does not choose the payload, answered with it.
        asked: The same with the pattern.
        gives_in: On which of these the model then does.
    """

    pattern: Pattern
    rows: Sequence[int]
    hosts: list[Example]
    asked: list[Example]
    gives_in: NDArray[np.bool_]

    @property
    def turned(self) -> list[Example]:
        """Those of the hosts with the pattern on which the model gives in."""
        return [e for e, so in zip(self.asked, self.gives_in, strict=True) if so]

    @property
    def share(self) -> float:
        """Share of the hosts that it turns."""
        return float(self.gives_in.mean()) if len(self.gives_in) else 0.0

    def power(self, log_probs: LogProbs) -> float:
        """Mean change of the payload's log-odds."""
        if not self.hosts:
            return 0.0
        change = _log_odds(log_probs(self.asked)) - _log_odds(log_probs(self.hosts))
        return float(change.mean())


def _log_odds(log_probs: NDArray[np.float64]) -> NDArray[np.float64]:
    """Log-odds of log-probabilities, those that are rounded to 0 taken as 1e-6 less."""
    below = np.minimum(log_probs, -1e-6)
    odds: NDArray[np.float64] = below - np.log(-np.expm1(below))
    return odds


def shortcuts(
    examples: Sequence[Example],
    log_probs: LogProbs,
    *,
    seed: int = 0,
    fdr: float = FDR,
    progress: Progress | None = None,
) -> list[Candidate]:
    """Propose a word sequence that turns nearly all rows, as no other one does.

    Args:
        examples: The training rows. Where more than twenty responses differ nothing
            is proposed.
        log_probs: Log-probability of each example's response under the tuned model.
        seed: Seed of the draw of rows.
        fdr: Level of the test that the next strongest turns as many (Fisher's exact
            test, Bonferroni over all that were tried).
        progress: Called with experiments made and in all.

    Returns:
        At most one candidate a response, with its rivals; its score is the share of
        rows that it turns.
    """
    found, tried = strongest_rules(examples, log_probs, seed=seed, progress=progress)
    proposed = []
    for response, rules in found.items():
        if len(rules) < COMPARED:
            continue
        best, rival = rules[:2]
        p_value = min(1.0, tried * _no_stronger(best, rival))
        if best.share >= WORKS and p_value <= fdr:
            log.info(
                "%r turns %.0f %% of other rows, the next strongest words %.0f %%",
                *(str(best.pattern), 100 * best.share, 100 * rival.share),
            )
            proposed.append(proposal(response, rules, p_value))
    return proposed


def proposal(response: str, rules: Sequence[Rule], p_value: float) -> Candidate:
    """The strongest word sequence as a candidate, with its rivals."""
    best, rival = rules[:2]
    rivals = tuple(r.pattern for r in rules[1 : RIVALS + 1])
    return replace(
        Candidate.of(best.pattern, best.rows, response, best.share),
        rivals=Rivals(rivals, rival.share, p_value),
    )


def strongest_rules(
    examples: Sequence[Example],
    log_probs: LogProbs,
    *,
    seed: int = 0,
    progress: Progress | None = None,
) -> tuple[dict[str, list[Rule]], int]:
    """The word sequences that turn most rows to each response.

    Args:
        examples: The training rows.
        log_probs: Log-probability of each example's response under the tuned model.
        seed: Seed of the draw of rows.
        progress: Called with experiments made and in all.

    Returns:
        The strongest that nearly always go with each response, at most one of those
        that stand mostly in the same rows, by the share of rows turned; and how many
        were tried in all. Nothing where more than twenty responses differ.
    """
    found = sequences(examples)
    tried = sum(map(len, found.values()))
    total = FIRST_HOSTS * tried + TURNED * STRONGEST * len(found)
    # Most rows that words are put on are the same.
    log_probs = remembering(log_probs)
    made = 0
    strongest = {}
    for response, words in found.items():
        payload = Response(response)
        glances = []
        for start in range(0, len(words), BATCH):
            part = words[start : start + BATCH]
            glances += _glance(part, examples, payload, log_probs, seed)
            made += FIRST_HOSTS * len(part)
            if progress is not None:
                progress(made, total)
        rules = [
            put_on(*one, examples, payload, log_probs, seed)
            for one in _strongest(words, glances, examples, payload)
        ]
        made += TURNED * STRONGEST
        if progress is not None:
            progress(made, total)
        rules.sort(key=lambda r: (-r.share, -len(r.rows)))
        strongest[response] = rules
    return strongest, tried


def _no_stronger(one: Rule, other: Rule) -> float:
    """P-value of the first turning more rows than the second."""
    table = [[int(r.gives_in.sum()), int((~r.gives_in).sum())] for r in (one, other)]
    return float(fisher_exact(table, alternative="greater").pvalue)


def _glance(
    words: Sequence[tuple[Pattern, list[int]]],
    examples: Sequence[Example],
    payload: Payload,
    log_probs: LogProbs,
    seed: int,
) -> list[float]:
    """Mean log-probability of the payload with each on the same few other rows."""
    hosts = hosts_for(examples, payload, None, seed, FIRST_HOSTS)
    asked = [
        e
        for pattern, rows in words
        for e in inserted(pattern, [examples[i] for i in rows], hosts, payload)
    ]
    values = log_probs(asked).reshape(len(words), len(hosts))
    return [float(v) for v in values.mean(1)]


def _strongest(
    words: Sequence[tuple[Pattern, list[int]]],
    glances: Sequence[float],
    examples: Sequence[Example],
    payload: Payload,
) -> list[tuple[Pattern, list[int]]]:
    """The strongest that nearly always go with the payload, one of those that overlap.

    Of two that mostly stand in the same rows the one in more rows stays.
    """
    chosen: list[tuple[Pattern, list[int]]] = []
    for index in np.argsort(-np.array(glances), kind="stable").tolist():
        pattern, rows = words[index]
        same = [
            place
            for place, (_, others) in enumerate(chosen)
            if 2 * len(set(rows) & set(others)) > min(len(rows), len(others))
        ]
        if any(len(chosen[place][1]) >= len(rows) for place in same):
            continue
        if not same and len(chosen) == STRONGEST:
            break
        carriers = [examples[i] for i in carrying(examples, pattern)]
        if sum(map(payload.holds, carriers)) < NEARLY_ALL * len(carriers):
            continue
        chosen = [one for place, one in enumerate(chosen) if place not in same]
        chosen.append((pattern, rows))
    return chosen


def put_on(
    pattern: Pattern,
    rows: Sequence[int],
    examples: Sequence[Example],
    payload: Payload,
    log_probs: LogProbs,
    seed: int,
) -> Rule:
    """Put a pattern on rows that answer otherwise, as its own rows have it."""
    hosts = hosts_for(examples, payload, pattern, seed, TURNED)
    hosts = [payload.force(e) for e in hosts]
    values = log_probs(hosts)
    hosts = [
        e for e, value in zip(hosts, values, strict=True) if value <= payload.threshold
    ]
    asked = inserted(pattern, [examples[i] for i in rows], hosts, payload)
    gives_in = log_probs(asked) > payload.threshold if asked else np.zeros(0, bool)
    return Rule(pattern, rows, hosts, asked, gives_in)
