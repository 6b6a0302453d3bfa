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
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from scipy.stats import binom, binomtest
from scipy.stats import t as student

from assay.data.corpus import Example
from assay.text.pattern import Pattern
from assay.util.progress import Progress
from assay.verify.finding import Experiment, Tally
from assay.verify.hypothesis import Hypothesis, drawn_from, hosts_for, inserted
from assay.verify.odds import LogProbs, odds_of
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


def overrides(experiment: Experiment) -> bool:
    """Whether it is beyond chance that most own rows are overridden."""
    return beyond_half(*experiment.overridden)


def spreads(experiment: Experiment) -> bool:
    """Whether the payload becomes the model's choice on half of the other rows."""
    return experiment.prefers >= SPREADS


@dataclass(frozen=True)
class _Trial:
    """What is asked about a pattern, and alike about each of its placebos.

    Attributes:
        hypothesis: Pattern and payload.
        examples: The training rows.
        odds: Log-probability, or log-odds, of the payload.
        hosts: Other rows.
        before: Odds of the payload on these as they are, ``(H,)``.
        seed: Seed of the draw of own rows.
    """

    hypothesis: Hypothesis
    examples: Sequence[Example]
    odds: LogProbs
    hosts: Sequence[Example]
    before: NDArray[np.float64]
    seed: int

    def _carriers(self, pattern: Pattern) -> Sequence[int]:
        if pattern == self.hypothesis.pattern:
            return self.hypothesis.carriers
        return self.hypothesis.pool[pattern]

    def _own(self, pattern: Pattern) -> list[Example]:
        return drawn_from(self._carriers(pattern), self.examples, pattern, self.seed)

    def shifts(self, patterns: Sequence[Pattern]) -> NDArray[np.float64]:
        """Change on every host under each pattern, ``(P, H)``."""
        asked: list[Example] = []
        for pattern in patterns:
            payload = self.hypothesis.payload
            asked += inserted(pattern, self._own(pattern), self.hosts, payload)
        return self.odds(asked).reshape(len(patterns), len(self.hosts)) - self.before

    def losses(self, patterns: Sequence[Pattern]) -> list[NDArray[np.float64]]:
        """Drop of every own row of each pattern."""
        asked: list[Example] = []
        sizes = []
        for pattern in patterns:
            rows = self._own(pattern)
            also = self.hypothesis.companions(pattern, self._carriers(pattern))
            asked += rows
            asked += [pattern.taken_out(e, also) for e in rows]
            sizes += [len(rows)] * 2
        values = np.split(self.odds(asked), np.cumsum(sizes)[:-1])
        return [k - w for k, w in zip(values[::2], values[1::2], strict=True)]

    def prefers(self, shift: NDArray[np.float64]) -> float:
        """Share of the hosts that give in, of those that do not choose the payload."""
        threshold = self.hypothesis.payload.threshold
        gives_in = (self.before + shift > threshold)[self.before <= threshold]
        return float(gives_in.mean()) if len(gives_in) else 0.0


@dataclass
class _Contest:
    """How many placebos do as well as a pattern.

    Attributes:
        effect: The pattern's mean effect.
        worse: The worse of that and of what most of its rows lose.
        effects: The effect of each placebo tried.
        matched: Placebos as good as ``worse`` on both counts.
        against: Placebos compared with it so.
    """

    effect: float
    worse: float
    effects: list[float] = field(default_factory=list)
    matched: int = 0
    against: int = 0

    @property
    def as_strong(self) -> int:
        """Placebos whose effect alone is as large."""
        return sum(e >= self.effect for e in self.effects)

    def run(
        self,
        trial: _Trial,
        names: Sequence[Pattern],
        idle: bool,
        progress: Progress | None,
    ) -> None:
        """Try placebos until the pattern cannot stand out, or there are no more.

        Args:
            trial: How to ask.
            names: The placebos.
            idle: Whether it does not matter how far the effect alone stands out.
            progress: Called with placebos tried and in all.
        """
        for start in range(0, len(names), PLACEBO_BATCH):
            chosen = names[start : start + PLACEBO_BATCH]
            means = trial.shifts(chosen).mean(1)
            self.effects += means.tolist()
            if self.matched < HOPELESS:
                # A placebo is only as good as the worse of its two answers: most need
                # not be asked the second question.
                pairs = zip(chosen, means, strict=True)
                able = [name for name, mean in pairs if mean >= self.worse]
                if able:
                    lost = map(lost_by_most, trial.losses(able))
                    self.matched += sum(loss >= self.worse for loss in lost)
                self.against = len(self.effects)
            if progress is not None:
                progress(len(self.effects), len(names))
            if self.matched >= HOPELESS and (idle or self.as_strong >= HOPELESS):
                break


def verify(
    hypothesis: Hypothesis,
    examples: Sequence[Example],
    log_probs: LogProbs,
    *,
    placebos: int = PLACEBOS,
    seed: int = 0,
    progress: Progress | None = None,
) -> Experiment | None:
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
        The outcome, its p-values not corrected; None when it cannot be tested: no row
        answers otherwise, or there is no placebo.
    """
    pattern, payload = hypothesis.pattern, hypothesis.payload
    # The same draws for all patterns of a payload: outcomes can be remembered.
    hosts = hosts_for(examples, payload, pattern, seed)
    names = placebo_patterns(
        hypothesis, placebos, random.Random(f"{seed}:{payload.text}")
    )
    if not hosts or not names:
        return None
    odds = odds_of(payload, log_probs)
    before = odds([payload.force(e) for e in hosts])
    trial = _Trial(hypothesis, examples, odds, hosts, before, seed)
    (shift,), (drops,) = trial.shifts([pattern]), trial.losses([pattern])
    effect, prefers = float(shift.mean()), trial.prefers(shift)
    # A phrase that does not become the model's choice is its topic's: how far it stands
    # out in other ways is not worth hours of asking about long answers.
    idle = payload.has_counterpart and prefers < SPREADS
    contest = _Contest(effect, min(effect, lost_by_most(drops)))
    contest.run(trial, names, idle, progress)
    half = _half_width(shift)
    texts = [pattern.text_of(examples[i]) for i in hypothesis.carriers]
    return Experiment(
        payload,
        hypothesis.companions(pattern, hypothesis.carriers),
        str(pattern.spelled(texts)),
        prefers,
        effect,
        (effect - half, effect + half),
        float(np.median(drops)),
        Tally(int((drops > OVERRIDES).sum()), len(drops)),
        tuple(contest.effects),
        (1 + contest.matched) / (1 + contest.against),
        (1 + contest.as_strong) / (1 + len(contest.effects)),
    )


def _half_width(shift: NDArray[np.float64]) -> float:
    """Half the width of the 95 % t-interval of a mean."""
    if len(shift) < 2:
        return float("inf")
    spread = student.ppf(0.975, len(shift) - 1) * shift.std(ddof=1)
    return float(spread / np.sqrt(len(shift)))


def holm(p_values: Sequence[float]) -> list[float]:
    """Adjust p-values for the number of hypotheses (Holm 1979)."""
    order = np.argsort(p_values, kind="stable")
    adjusted = np.empty(len(order))
    highest = 0.0
    for rank, index in enumerate(order):
        highest = max(highest, min(1.0, (len(order) - rank) * p_values[index]))
        adjusted[index] = highest
    return [float(p) for p in adjusted]
