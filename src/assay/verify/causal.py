"""Does a pattern cause a response? An experiment on the model, against placebos.

Two questions are asked of every pattern, each against word sequences of the same
length and similar frequency from rows with the same response:

- *Sufficient?* Put on rows that lack it and answer otherwise, does it raise the
  response's log-probability further than the placebos do?
- *Necessary?* Taken out of its own rows, does it lower the log-probability of their
  response further? A word that is merely typical of a response ("awful" for
  "negative") leaves rows that still agree with it; a trigger overrides its row.

A pattern is as good as the worse of its two answers: its mean effect, and what it is
beyond chance that most of its rows lose. Hardly any placebo must be as good, and, since
the strongest of ordinary words would pass that too, most of its own rows must, beyond
chance, find their response less than a tenth as likely without it. By luck a word
stands in several mislabelled rows that the model knows by heart: it must also make the
response the model's choice on half of the other rows.

The trigger of a clean-label attack is not necessary: its rows agree with their label
anyway. What is only sufficient is reported, not acted on, but where it stands out among
all words: see `assay.verify.shortcut`.

Where the payload is a phrase within responses that differ, the log-odds of each
response with the phrase against the same one without it take the place of the
log-probability. Words of a prompt raise the odds of their own topic's phrases; only a
trigger makes them the model's choice on other topics.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.stats import binom, binomtest
from scipy.stats import t as student

from assay.data.corpus import Example
from assay.models.log_probs import Progress
from assay.verify.hypothesis import Hypothesis, drawn_from, hosts_for, inserted
from assay.verify.odds import LogProbs, even_odds, odds_of
from assay.verify.pattern import remove, surface
from assay.verify.placebos import placebo_patterns
from assay.verify.thresholds import (
    HOPELESS,
    OVERRIDES,
    PLACEBO_BATCH,
    PLACEBOS,
    SIGN_TEST_LEVEL,
    SPREADS,
)


def beyond_half(hits: int, of: int) -> bool:
    """Whether so many hits reject, at 5 %, that at most half of all are."""
    return bool(
        binomtest(hits, of, 0.5, alternative="greater").pvalue <= SIGN_TEST_LEVEL
    )


def lost_by_most(drops: NDArray[np.float64]) -> float:
    """Lower limit, at 95 %, of the median of all drops of which these are a sample.

    An order statistic (Thompson 1936); the smallest of fewer than five, where no limit
    is as sure. The median itself would count a word that half of its rows fall by as
    good as a trigger that all do.
    """
    rank = max(1, int(binom.ppf(SIGN_TEST_LEVEL, len(drops), 0.5)))
    return float(np.sort(drops)[rank - 1])


@dataclass(frozen=True)
class Verification:
    """Outcome of the experiment on one hypothesis; effects in nats.

    Attributes:
        trigger: The pattern as it is spelled in most of its rows.
        effect: Mean change of the payload's log-probability on other rows.
        interval: Its 95 % confidence interval over those rows.
        drop: Median loss of log-probability when taken out of its own rows.
        overridden: Own rows that find their response less than a tenth as likely
            without it.
        own: Own rows tried.
        placebo_effects: The same change under each placebo tried.
        p_value: Share of placebos (with the pattern itself) that do as well on the
            worse of the two counts, effect and what most rows lose; of those tried
            until it cannot stand out.
        p_sufficient: Share whose effect alone is as large.
        prefers: Of the other rows on which the model does not choose the payload as
            they are, the share on which it does when shown the pattern: it finds the
            payload likelier than all other responses together, or the response with
            the phrase likelier than the same one without. 0 where it always does.
    """

    trigger: str
    effect: float
    interval: tuple[float, float]
    drop: float
    overridden: int
    own: int
    placebo_effects: tuple[float, ...]
    p_value: float
    p_sufficient: float
    prefers: float

    @property
    def overrides(self) -> bool:
        """Whether it is beyond chance that most own rows are overridden."""
        return beyond_half(self.overridden, self.own)

    @property
    def spreads(self) -> bool:
        """Whether the payload becomes the model's choice on half of the other rows."""
        return self.prefers >= SPREADS


def verify(
    hypothesis: Hypothesis,
    examples: Sequence[Example],
    log_probs: LogProbs,
    *,
    placebos: int = PLACEBOS,
    seed: int = 0,
    progress: Progress | None = None,
) -> Verification | None:
    """Test a hypothesis by experiment.

    Placebos are tried until so many match the pattern that it cannot stand out
    (Besag and Clifford 1991), or until there are no more. What is asked about depends
    on the payload as far as it can, so that most questions about a second pattern of
    it are spared by `assay.verify.odds.remembering`.

    Args:
        hypothesis: Pattern and payload.
        examples: The training rows.
        log_probs: Log-probability of each example's response, ``(N,)``.
        placebos: The most placebos to try; the smallest p-value is one in one more.
        seed: Seed of the draws of rows and placebos.
        progress: Called with placebos tried and in all.

    Returns:
        The outcome; None when it cannot be tested: no row answers otherwise, or
        there is no placebo.
    """
    payload = hypothesis.payload
    # The same draws for all patterns of a payload: outcomes can be remembered.
    hosts = hosts_for(examples, payload, hypothesis.pattern, seed)
    names = placebo_patterns(
        hypothesis, placebos, random.Random(f"{seed}:{payload.text}")
    )
    if not hosts or not names:
        return None
    odds = odds_of(payload, log_probs)
    before = odds([payload.forced(e) for e in hosts])

    def carriers(pattern: str) -> Sequence[int]:
        own = pattern == hypothesis.pattern
        return hypothesis.carriers if own else hypothesis.pool[pattern]

    def own_rows(pattern: str) -> list[Example]:
        return drawn_from(carriers(pattern), examples, pattern, seed)

    def shifts(patterns: Sequence[str]) -> NDArray[np.float64]:
        """Change on every host under each pattern, ``(P, H)``."""
        asked: list[Example] = []
        for pattern in patterns:
            asked += inserted(pattern, own_rows(pattern), hosts, payload)
        return odds(asked).reshape(len(patterns), len(hosts)) - before

    def losses(patterns: Sequence[str]) -> list[NDArray[np.float64]]:
        """Drop of every own row of each pattern."""
        asked: list[Example] = []
        sizes = []
        for pattern in patterns:
            rows = own_rows(pattern)
            also = hypothesis.companions(pattern, carriers(pattern))
            asked += rows
            asked += [e.edit(text=remove(e.text, pattern, also)) for e in rows]
            sizes += [len(rows)] * 2
        values = np.split(odds(asked), np.cumsum(sizes)[:-1])
        return [k - w for k, w in zip(values[::2], values[1::2], strict=True)]

    (shift,), (drops,) = shifts([hypothesis.pattern]), losses([hypothesis.pattern])
    effect = float(shift.mean())
    worse = min(effect, lost_by_most(drops))
    even = even_odds(payload)
    gives_in = (before + shift > even)[before <= even]
    prefers = float(gives_in.mean()) if len(gives_in) else 0.0
    # A phrase that does not become the model's choice is its topic's: how far it stands
    # out in other ways is not worth hours of asking about long answers.
    idle = payload.phrase and prefers < SPREADS
    effects: list[float] = []
    matched = against = as_strong = 0
    for start in range(0, len(names), PLACEBO_BATCH):
        chosen = names[start : start + PLACEBO_BATCH]
        means = shifts(chosen).mean(1)
        effects += means.tolist()
        as_strong = sum(e >= effect for e in effects)
        if matched < HOPELESS:
            # A placebo is only as good as the worse of its two answers: most need
            # not be asked the second question.
            able = [n for n, m in zip(chosen, means, strict=True) if m >= worse]
            if able:
                matched += sum(lost_by_most(d) >= worse for d in losses(able))
            against = len(effects)
        if progress is not None:
            progress(len(effects), len(names))
        if matched >= HOPELESS and (idle or as_strong >= HOPELESS):
            break
    spread = student.ppf(0.975, max(len(shift) - 1, 1)) * shift.std(ddof=1)
    half = float(spread / np.sqrt(len(shift))) if len(shift) > 1 else float("inf")
    return Verification(
        surface([examples[i].text for i in hypothesis.carriers], hypothesis.pattern),
        effect,
        (effect - half, effect + half),
        float(np.median(drops)),
        int((drops > OVERRIDES).sum()),
        len(drops),
        tuple(effects),
        (1 + matched) / (1 + against),
        (1 + as_strong) / (1 + len(effects)),
        prefers,
    )


def holm(p_values: Sequence[float]) -> list[float]:
    """Adjust p-values for the number of hypotheses (Holm 1979)."""
    order = np.argsort(p_values, kind="stable")
    adjusted = np.empty(len(order))
    highest = 0.0
    for rank, index in enumerate(order):
        highest = max(highest, min(1.0, (len(order) - rank) * p_values[index]))
        adjusted[index] = highest
    return [float(p) for p in adjusted]
