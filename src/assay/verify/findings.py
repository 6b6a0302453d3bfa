"""From a detector's candidate groups to verified findings."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace

from assay.data.corpus import Example
from assay.detectors.candidate import Candidate
from assay.text.pattern import Pattern, carrying
from assay.util.progress import Progress
from assay.verify.causal import holm, overrides, spreads, verify
from assay.verify.companions import companions_in
from assay.verify.finding import Experiment, Finding, Status
from assay.verify.hypothesis import Hypothesis
from assay.verify.minimal import minimal_pattern
from assay.verify.near import NEAR
from assay.verify.odds import LogProbs, remembering
from assay.verify.payload import Payload, payload_of
from assay.verify.placebos import placebo_pool, placebos_for
from assay.verify.refine import complete, grow, narrow
from assay.verify.thresholds import COMPLETED, FDR, HYPOTHESES, SURE

log = logging.getLogger("assay")


def verified_findings(
    candidates: Sequence[Candidate],
    examples: Sequence[Example],
    log_probs: LogProbs,
    *,
    seed: int = 0,
    most: int = HYPOTHESES,
    fdr: float = FDR,
    progress: Progress | None = None,
) -> list[Finding]:
    """Put every candidate's pattern to the test.

    Holm's correction holds the chance of any false finding at ``fdr``, and with it the
    expected share of false ones among the rows flagged: that share is at most 1, and 0
    when no finding is false.

    Args:
        candidates: A detector's candidates, most promising first. Those most of whose
            rows an earlier one has, that shares a word and the payload, are not asked
            about.
        examples: The training rows.
        log_probs: Log-probability of each example's response under the tuned model.
        seed: Seed of draws.
        most: The most candidates to test.
        fdr: Tolerated share of false flags, in expectation; a smaller one takes more
            placebos.
        progress: Called with placebos tried and the most there can be.

    Returns:
        The candidates tested, with p-values corrected for all of them and a status:
        verified, sufficient (rules half of the other rows, but its own do not need it;
        of fewer than five all must), dismissed or untestable. Patterns are lengthened
        to all that their rows share; those that turn few rows are asked about once
        more, with a word that nearly all of their rows have elsewhere. The rows of a
        verified one are all rows that carry the pattern and the payload; others with
        the pattern answer otherwise and are kept. Its minimal part is the shortest
        that does as much.
    """
    placebos = placebos_for(fdr, most)
    # Patterns of one payload share rows and placebos.
    log_probs = remembering(log_probs)
    ask = _Questions(examples, placebos)
    asked = _questions(candidates, examples, most, ask)
    outcomes: list[Experiment | None] = []

    def test(questions: Sequence[_Question]) -> None:
        for question in questions:

            def advance(done: int, total: int, before: int = len(outcomes)) -> None:
                if progress is not None:
                    progress(before * total + done, len(asked) * total)

            outcomes.append(
                verify(
                    question.hypothesis,
                    examples,
                    log_probs,
                    placebos=placebos,
                    seed=seed,
                    progress=advance,
                )
                if question.hypothesis
                else None
            )

    test(asked)
    completed = ask.completed(asked, outcomes)
    asked += completed
    test(completed)
    findings = []
    for question, outcome in zip(asked, _corrected(outcomes, fdr), strict=True):
        finding = _finding(question, outcome, fdr)
        if finding.is_verified and question.hypothesis is not None:
            part = minimal_pattern(question.hypothesis, examples, log_probs, seed=seed)
            finding = _swept(finding, question.hypothesis, part, examples)
        findings.append(finding)
    return findings


def _corrected(
    outcomes: Sequence[Experiment | None], fdr: float
) -> list[Experiment | None]:
    """Correct p-values for all that were looked at, and warn of too few placebos."""
    # What cannot be tested was looked at all the same.
    both = holm([o.p_value if o else 1.0 for o in outcomes])
    alone = holm([o.p_sufficient if o else 1.0 for o in outcomes])
    corrected = []
    for outcome, p_value, p_alone in zip(outcomes, both, alone, strict=True):
        if outcome is not None:
            _warn_of_too_few(outcome, p_value, fdr, len(outcomes))
            outcome = replace(outcome, p_value=p_value, p_sufficient=p_alone)
        corrected.append(outcome)
    return corrected


def _warn_of_too_few(
    outcome: Experiment, p_value: float, fdr: float, among: int
) -> None:
    """Warn where more placebos might have decided: none of those tried was as good."""
    tried = len(outcome.placebo_effects) + 1
    if p_value > fdr and round(outcome.p_value * tried) == 1:
        log.warning(
            "%r outdoes all of its %d placebos, which are too few for "
            "--fdr %g among %d candidates",
            outcome.trigger,
            tried - 1,
            fdr,
            among,
        )


@dataclass(frozen=True)
class _Question:
    """A candidate, and what it says where that can be tested."""

    candidate: Candidate
    hypothesis: Hypothesis | None = None


class _Questions:
    """Makes hypotheses of patterns; those of one build share a pool of placebos."""

    def __init__(self, examples: Sequence[Example], placebos: int) -> None:
        self.examples = examples
        self.placebos = placebos
        self.companions = companions_in(examples)
        self.pools: dict[object, dict[Pattern, tuple[int, ...]]] = {}

    def __call__(
        self, candidate: Candidate, pattern: Pattern, payload: Payload | None
    ) -> _Question:
        """Ask whether all rows with a pattern owe the payload to it."""
        with_it = carrying(self.examples, pattern)
        candidate = replace(candidate, pattern=pattern, pattern_rows=tuple(with_it))
        if payload is None:
            return _Question(candidate)
        carriers = tuple(i for i in with_it if payload.holds(self.examples[i]))
        if not carriers:
            return _Question(candidate)
        kind = payload, pattern.shape
        if kind not in self.pools:
            self.pools[kind] = placebo_pool(
                self.examples, payload, pattern, self.placebos
            )
        return _Question(
            candidate,
            Hypothesis(pattern, payload, carriers, self.pools[kind], self.companions),
        )

    def completed(
        self, asked: Sequence[_Question], outcomes: Sequence[Experiment | None]
    ) -> list[_Question]:
        """Ask about parts that turn few rows, with what their rows have elsewhere."""
        work = [
            {*question.candidate.pattern.words}
            for question, outcome in zip(asked, outcomes, strict=True)
            if outcome is not None and spreads(outcome)
        ]
        found: dict[Pattern, _Question] = {}
        for question in asked:
            part = question.hypothesis
            if part is None:
                continue
            texts = [part.pattern.text_of(self.examples[i]) for i in part.carriers]
            others = self.companions(part.pattern, part.carriers)
            whole = complete(texts, part.pattern, others)
            # What works without the other word is not completed, nor completes.
            done = any(not words.isdisjoint(whole.words) for words in work)
            if whole != part.pattern and not done and whole not in found:
                found[whole] = self(question.candidate, whole, part.payload)
        return list(found.values())[:COMPLETED]


def _questions(
    candidates: Sequence[Candidate],
    examples: Sequence[Example],
    most: int,
    ask: _Questions,
) -> list[_Question]:
    """Candidates to test, with what they say where that can be tested."""
    asked: list[_Question] = []
    for candidate in candidates:
        if len(asked) == most:
            log.info("more than %d candidates: the rest is not tested", most)
            break
        payload = payload_of(examples, candidate.pattern_rows)
        pattern = _recovered(candidate, payload, examples)
        with_it = set(carrying(examples, pattern))
        if not any(_covers(e, pattern, with_it, payload) for e in asked):
            asked.append(ask(candidate, pattern, payload))
    return asked


def _recovered(
    candidate: Candidate, payload: Payload | None, examples: Sequence[Example]
) -> Pattern:
    """Lengthen and narrow a pattern to all that its rows with the payload share."""
    own = [
        candidate.pattern.text_of(examples[i])
        for i in candidate.pattern_rows
        if payload is None or payload.holds(examples[i])
    ]
    pattern = grow(own, candidate.pattern)
    if payload is None:
        return pattern
    with_it = [examples[i] for i in carrying(examples, pattern)]
    narrowed = narrow(
        [pattern.text_of(e) for e in with_it if payload.holds(e)],
        [pattern.text_of(e) for e in with_it if not payload.holds(e)],
        pattern,
    )
    # It stands in fewer rows, which may share more.
    return grow(own, narrowed) if narrowed != pattern else pattern


def _covers(
    earlier: _Question, pattern: Pattern, rows: set[int], payload: Payload | None
) -> bool:
    """Whether a question is about the same trigger as one asked before."""
    tested = earlier.hypothesis
    return (
        not set(pattern.words).isdisjoint(earlier.candidate.pattern.words)
        # "james bond" says more than "by james bond", if that came first.
        and 2 * len(rows & set(earlier.candidate.pattern_rows)) > len(rows)
        # A part of a trigger may stand alone in as many rows that answer otherwise.
        and (tested is None or payload is None or tested.payload == payload)
    )


def _finding(question: _Question, outcome: Experiment | None, fdr: float) -> Finding:
    """What an outcome, with corrected p-values, says of a candidate."""
    if outcome is None:
        return Finding(question.candidate, Status.UNTESTABLE)
    near = question.candidate.proposer == NEAR
    return Finding(question.candidate, _status(outcome, near, fdr), outcome)


def _status(outcome: Experiment, near: bool, fdr: float) -> Status:
    overridden, own = outcome.overridden
    # Of a word of a trigger already verified few rows can tell, if all agree.
    needs = overrides(outcome) or (near and overridden == own)
    if outcome.p_value <= fdr and needs and spreads(outcome):
        return Status.VERIFIED
    # Any strong word is one in three rows; of few all must need it to be suspicious.
    enough_rows = own >= SURE or overridden == own
    strong = outcome.p_sufficient <= fdr and spreads(outcome) and enough_rows
    return Status.SUFFICIENT if strong else Status.DISMISSED


def _swept(
    finding: Finding, hypothesis: Hypothesis, part: Pattern, examples: Sequence[Example]
) -> Finding:
    """Give a verified finding all its rows, and the part of it that is enough."""
    texts = [part.text_of(examples[i]) for i in hypothesis.carriers]
    return replace(
        finding,
        candidate=replace(finding.candidate, rows=hypothesis.carriers),
        minimal=str(part.spelled(texts)),
    )
