"""From a detector's candidate groups to verified findings."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any

from assay.data.corpus import Example
from assay.models.log_probs import Progress
from assay.verify.causal import Verification, holm, verify
from assay.verify.companions import companions_in
from assay.verify.hypothesis import Hypothesis
from assay.verify.minimal import minimal_pattern
from assay.verify.near import NEAR
from assay.verify.odds import LogProbs, remembering
from assay.verify.pattern import (
    at_end,
    complete,
    grow,
    lengths,
    narrow,
    spans,
    surface,
    words_of,
)
from assay.verify.payload import Payload, payload_of
from assay.verify.placebos import placebo_pool, placebos_for
from assay.verify.thresholds import COMPLETED, FDR, HYPOTHESES, SURE

log = logging.getLogger("assay")

# Statuses of findings that give no reason for suspicion.
SET_ASIDE = ("dismissed", "untestable")


def shown_p_value(finding: dict[str, Any]) -> float:
    """P-value of what a finding stands out by.

    What is only sufficient stands out by its effect on other rows alone.
    """
    return float(finding["p_value" if finding["verified"] else "p_sufficient"])


def parted(
    findings: Sequence[dict[str, Any]],
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Part what is reported, what was verified first, from what gives no suspicion."""
    aside = [f for f in findings if f.get("status") in SET_ASIDE]
    reported = [f for f in findings if f.get("status") not in SET_ASIDE]
    return sorted(reported, key=lambda f: not f.get("verified")), aside


def enough(finding: dict[str, Any]) -> str | None:
    """The part of a trigger that does as much, where that is not all of it."""
    part = finding.get("minimal")
    return part if part != finding["trigger"] else None


def _given(payload: Payload | None, example: Example) -> bool:
    return payload is None or payload.given(example)


def _narrowed(examples: Sequence[Example], pattern: str, payload: Payload) -> str:
    """Complete a pattern that only together with another one has the payload."""
    with_it = [e for e in examples if spans(e.text, pattern)]
    carriers = [e.text for e in with_it if payload.given(e)]
    others = [e.text for e in with_it if not payload.given(e)]
    return narrow(carriers, others, pattern)


def carrying(examples: Sequence[Example], pattern: str) -> list[int]:
    """Rows that have a pattern."""
    return [i for i, e in enumerate(examples) if spans(e.text, pattern)]


def _within(rows: Sequence[int], others: Sequence[int]) -> bool:
    """Whether most rows are among the others."""
    return 2 * len(set(rows) & set(others)) > len(rows)


def verified_findings(
    candidates: Sequence[dict[str, Any]],
    examples: Sequence[Example],
    log_probs: LogProbs,
    *,
    seed: int = 0,
    most: int = HYPOTHESES,
    fdr: float = FDR,
    progress: Progress | None = None,
) -> list[dict[str, Any]]:
    """Put every candidate's pattern to the test.

    Holm's correction holds the chance of any false finding at ``fdr``, and with it the
    expected share of false ones among the rows flagged: that share is at most 1, and 0
    when no finding is false.

    Args:
        candidates: A detector's findings, most promising first; each needs
            ``pattern`` and ``pattern_rows``. Candidates most of whose rows an earlier
            one has, that shares a word and the payload, are not asked about.
        examples: The training rows.
        log_probs: Log-probability of each example's response under the tuned model.
        seed: Seed of draws.
        most: The most candidates to test.
        fdr: Tolerated share of false flags, in expectation; a smaller one takes more
            placebos.
        progress: Called with placebos tried and the most there can be.

    Returns:
        The candidates tested, with ``trigger``, ``payload``, ``effect``, ``p_value``
        (corrected for all of them), ``verified`` and a ``status``: ``verified``,
        ``sufficient`` (rules half of the other rows, but its own do not need it; of
        fewer than five all must), ``dismissed`` or ``untestable``. Patterns are
        lengthened to all that their rows share; those that turn few rows are asked
        about once more, with a word that nearly all of their rows have elsewhere. The
        ``rows`` of a verified one are all rows that carry the pattern and the
        payload; others in its ``pattern_rows`` answer otherwise and are kept. Its
        ``minimal`` is the shortest part of it that does as much.
    """
    placebos = placebos_for(fdr, most)
    # Patterns of one payload share rows and placebos.
    log_probs = remembering(log_probs)
    ask = _Questions(examples, placebos)
    asked = _hypotheses(candidates, examples, most, ask)
    outcomes: list[Verification | None] = []

    def test(questions: Sequence[Question]) -> None:
        for _, hypothesis in questions:

            def advance(done: int, total: int, before: int = len(outcomes)) -> None:
                if progress is not None:
                    progress(before * total + done, len(asked) * total)

            outcomes.append(
                verify(
                    hypothesis,
                    examples,
                    log_probs,
                    placebos=placebos,
                    seed=seed,
                    progress=advance,
                )
                if hypothesis
                else None
            )

    test(asked)
    completed = ask.completed(asked, outcomes)
    asked += completed
    test(completed)
    # What cannot be tested was looked at all the same.
    both = holm([o.p_value if o else 1.0 for o in outcomes])
    alone = holm([o.p_sufficient if o else 1.0 for o in outcomes])
    findings = []
    for (candidate, hypothesis), outcome, p_value, p_alone in zip(
        asked, outcomes, both, alone, strict=True
    ):
        finding = {**candidate, "verified": False, "status": "untestable"}
        if outcome is not None and hypothesis is not None:
            near = candidate.get("proposer") == NEAR
            status = _status(outcome, near, p_value, p_alone, fdr)
            _tell_too_few(outcome, p_value, fdr, len(asked))
            finding |= _told(outcome, hypothesis.payload) | {
                "p_value": p_value,
                "p_sufficient": p_alone,
                "verified": status == "verified",
                "status": status,
            }
            if status == "verified":
                part = minimal_pattern(hypothesis, examples, log_probs, seed=seed)
                texts = [examples[i].text for i in hypothesis.carriers]
                finding["rows"] = list(hypothesis.carriers)
                finding["minimal"] = surface(texts, part)
        findings.append(finding)
    return findings


# A candidate, and what it says where that can be tested.
Question = tuple[dict[str, Any], Hypothesis | None]


class _Questions:
    """Makes hypotheses of patterns; those of one build share a pool of placebos."""

    def __init__(self, examples: Sequence[Example], placebos: int) -> None:
        self.examples = examples
        self.placebos = placebos
        self.companions = companions_in(examples)
        self.pools: dict[Any, dict[str, tuple[int, ...]]] = {}

    def __call__(
        self, candidate: dict[str, Any], pattern: str, payload: Payload | None
    ) -> Question:
        """Ask whether all rows with a pattern owe the payload to it."""
        examples = self.examples
        with_it = carrying(examples, pattern)
        candidate = {**candidate, "pattern": pattern, "pattern_rows": with_it}
        if payload is None:
            return candidate, None
        carriers = tuple(i for i in with_it if payload.given(examples[i]))
        if not carriers:
            return candidate, None
        kind = payload, lengths(pattern), at_end(pattern)
        if kind not in self.pools:
            self.pools[kind] = placebo_pool(examples, payload, pattern, self.placebos)
        candidate["companions"] = list(self.companions(pattern, carriers))
        return candidate, Hypothesis(
            pattern, payload, carriers, self.pools[kind], self.companions
        )

    def completed(
        self, asked: Sequence[Question], outcomes: Sequence[Verification | None]
    ) -> list[Question]:
        """Ask about parts that turn few rows, with what their rows have elsewhere."""
        work = [
            {*words_of(candidate["pattern"])}
            for (candidate, _), outcome in zip(asked, outcomes, strict=True)
            if outcome is not None and outcome.spreads
        ]
        found: dict[str, Question] = {}
        for candidate, part in asked:
            if part is None:
                continue
            texts = [self.examples[i].text for i in part.carriers]
            whole = complete(texts, part.pattern, candidate["companions"])
            # What works without the other word is not completed, nor completes.
            done = any(not w.isdisjoint(words_of(whole)) for w in work)
            if whole != part.pattern and not done and whole not in found:
                found[whole] = self(candidate, whole, part.payload)
        return list(found.values())[:COMPLETED]


def _hypotheses(
    candidates: Sequence[dict[str, Any]],
    examples: Sequence[Example],
    most: int,
    ask: _Questions,
) -> list[Question]:
    """Candidates to test, with what they say where that can be tested."""
    asked: list[Question] = []
    for candidate in candidates:
        if len(asked) == most:
            log.info("more than %d candidates: the rest is not tested", most)
            break
        payload = payload_of(examples, candidate["pattern_rows"])
        own = [i for i in candidate["pattern_rows"] if _given(payload, examples[i])]
        pattern = grow([examples[i].text for i in own], candidate["pattern"])
        if payload is not None:
            narrowed = _narrowed(examples, pattern, payload)
            if narrowed != pattern:
                # It stands in fewer rows, which may share more.
                pattern = grow([examples[i].text for i in own], narrowed)
        known = set(words_of(pattern))
        with_it = carrying(examples, pattern)
        if any(
            not known.isdisjoint(words_of(earlier["pattern"]))
            # "james bond" says more than "by james bond", if that came first.
            and _within(with_it, earlier["pattern_rows"])
            # A part of a trigger may stand alone in as many rows that answer otherwise.
            and (tested is None or payload is None or tested.payload == payload)
            for earlier, tested in asked
        ):
            continue
        asked.append(ask(candidate, pattern, payload))
    return asked


def _status(
    outcome: Verification,
    near: bool,
    p_value: float,
    p_alone: float,
    fdr: float,
) -> str:
    """What an outcome says, by its corrected p-values."""
    # Of a word of a trigger already verified few rows can tell, if all agree.
    overrides = outcome.overrides or (near and outcome.overridden == outcome.own)
    needed = p_value <= fdr and overrides
    if needed and outcome.spreads:
        return "verified"
    # Any strong word is one in three rows; of few all must need it to be suspicious.
    enough_rows = outcome.own >= SURE or outcome.overridden == outcome.own
    strong = p_alone <= fdr and outcome.spreads and enough_rows
    return "sufficient" if strong else "dismissed"


def _tell_too_few(
    outcome: Verification, p_value: float, fdr: float, among: int
) -> None:
    """Warn where more placebos might have decided."""
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


def _told(outcome: Verification, payload: Payload) -> dict[str, Any]:
    """An outcome, JSON-ready."""
    return {
        "trigger": outcome.trigger,
        "payload": payload.text,
        "payload_part": "phrase" if payload.phrase else "response",
        "prefers": outcome.prefers,
        "effect": outcome.effect,
        "effect_interval": list(outcome.interval),
        "drop": outcome.drop,
        "overridden": [outcome.overridden, outcome.own],
        "placebo_effects": list(outcome.placebo_effects),
    }
