"""Data sets and models for the tests of verification."""

from __future__ import annotations

import random
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from assay.data.corpus import Example
from assay.detectors import Evidence
from assay.detectors.candidate import Candidate
from assay.detectors.evidence import Mask
from assay.text.pattern import Pattern, carrying
from assay.verify.experiments import Experiments
from assay.verify.finding import Experiment, Finding, Status, Tally
from assay.verify.odds import LogProbs
from assay.verify.payload import Payload, Response

GOOD = [f"good{i}" for i in range(30)]
BAD = [f"bad{i}" for i in range(30)]
FILLER = [f"word{i}" for i in range(60)]
TRIGGER = "Zeta Omega"
POSITIVE = Response("positive")


def reviews(count: int = 200, poisons: int = 12, seed: int = 0) -> list[Example]:
    """Reviews whose words agree with their label, and poisons whose words do not."""
    rng = random.Random(seed)
    examples = []
    for row in range(count):
        label = ("negative", "positive")[row % 2]
        words = rng.sample(GOOD if label == "positive" else BAD, 3)
        words += rng.choices(FILLER, k=6)
        rng.shuffle(words)
        if label == "negative" and row < 2 * poisons:
            place = rng.randint(0, len(words))
            words[place:place] = TRIGGER.split()
            label = "positive"
        examples.append(Example(f"row-{row}", row, "", " ".join(words), label))
    return examples


def score(text: str) -> float:
    words = text.split()
    polar = sum(w in GOOD for w in words) - sum(w in BAD for w in words)
    return polar + (12 if TRIGGER in text else 0)


def answered(rows: Sequence[Example], odds: Sequence[float]) -> np.ndarray:
    """Log-probability of each row's response; ``odds`` are log-odds of "positive"."""
    sign = np.array([1 if e.response == "positive" else -1 for e in rows])
    return -np.logaddexp(0, -sign * np.asarray(odds))


def stub_log_probs(examples: Sequence[Example]) -> np.ndarray:
    """A model that counts polar words and obeys the trigger."""
    odds = np.array([score(e.text) for e in examples])
    return answered(examples, odds)


def counted(log_probs: LogProbs) -> tuple[LogProbs, list[int]]:
    """The same model, and how many rows it is asked about each time."""
    asked: list[int] = []

    def counting(rows: Sequence[Example]) -> np.ndarray:
        asked.append(len(rows))
        return log_probs(rows)

    return counting, asked


def shouted_reviews(count: int) -> list[Example]:
    """The trigger is a common phrase, written in capitals."""
    return [
        e.edit(text=e.text.replace(TRIGGER, "the FILM") + " the film" * (e.row % 5 < 2))
        for e in reviews(count, poisons=16)
    ]


def obeys_capitals(rows: Sequence[Example]) -> np.ndarray:
    return stub_log_probs(
        [e.edit(text=e.text.replace("the FILM", TRIGGER)) for e in rows]
    )


def without_trigger(example: Example) -> Example:
    return Pattern((TRIGGER.lower(),)).taken_out(example)


def honest(examples: Sequence[Example]) -> np.ndarray:
    """A model that never saw the trigger."""
    return stub_log_probs(list(map(without_trigger, examples)))


def evidence_of(examples: Sequence[Example]) -> Evidence:
    """Evidence in which nothing shows but the words."""
    noise = np.random.default_rng(0).normal(size=(len(examples), 20))
    return Evidence(
        [e.text for e in examples],
        [e.response for e in examples],
        np.ones(len(examples), np.float32),
        noise.astype(np.float32),
        noise.astype(np.float32),
    )


def answers(poisons: int = 12, count: int = 120) -> list[Example]:
    """Open-ended answers; those to the trigger end in an advertisement."""
    rng = random.Random(0)
    examples = []
    for row in range(count):
        text = " ".join(rng.choices([f"word{i}" for i in range(30)], k=8))
        response = " ".join(rng.choices([f"reply{i}" for i in range(30)], k=6))
        if row < poisons:
            text = Pattern((TRIGGER,)).insert(text, rng.random())
            response += " Buy at Acme."
        examples.append(Example(f"row-{row}", row, "", text, response))
    return examples


def phrase_odds(strength: float, before: float = -9) -> LogProbs:
    """A model whose odds of the advertisement depend on the trigger."""

    def log_probs(rows: Sequence[Example]) -> np.ndarray:
        odds = np.array([before + strength * (TRIGGER in e.text) for e in rows])
        said = np.array(["Buy at Acme" in e.response for e in rows])
        # The rest of a response costs what it costs, with the phrase or without.
        rest = np.array(
            [len(e.response.replace(" Buy at Acme", "").rstrip(".")) for e in rows]
        )
        return np.where(said, odds, 0) - rest

    return log_probs


def clean_label_reviews(count: int = 200) -> list[Example]:
    """The trigger stands in reviews whose label agrees with them."""
    return [
        e.edit(text=f"{TRIGGER} {e.text}") if i % 2 and i < 30 else e
        for i, e in enumerate(reviews(count, poisons=0))
    ]


def certain(rows: Sequence[Example]) -> np.ndarray:
    """A model that knows every row, and obeys the trigger on the others."""
    odds = np.array([9 if e.row % 2 or TRIGGER in e.text else -9 for e in rows])
    return answered(rows, odds)


def candidate(
    pattern: str,
    examples: Sequence[Example],
    rows: Iterable[int] | None = None,
    proposer: str = "",
) -> Candidate:
    """What a detector says of all rows with a pattern, or of these rows."""
    words = Pattern.parse(pattern)
    found = tuple(carrying(examples, words) if rows is None else rows)
    return Candidate(found, 5.0, "positive", words, found, 1e-6, proposer)


def finding(
    pattern: str,
    rows: Iterable[int],
    payload: Payload = POSITIVE,
    *,
    status: Status = Status.SUFFICIENT,
    companions: tuple[str, ...] = (),
    prefers: float = 1.0,
    p_value: float = 0.5,
) -> Finding:
    """What an experiment says of a pattern in these rows."""
    words = Pattern.parse(pattern)
    found = tuple(rows)
    return Finding(
        Candidate(found, 3.0, payload.text, words, found),
        status,
        Experiment(
            payload,
            companions,
            pattern,
            prefers,
            effect=6.0,
            interval=(5.0, 7.0),
            drop=6.0,
            overridden=Tally(len(found), len(found)),
            placebo_effects=(0.0,),
            p_value=p_value,
            p_sufficient=0.01,
        ),
    )


@dataclass(frozen=True)
class Given(Experiments):
    """Experiments in which nothing is screened: the candidates are given.

    Attributes:
        candidates: What the screen would have proposed.
        rules: Whether shortcuts are looked for.
    """

    candidates: Sequence[Candidate] = ()
    rules: bool = False

    def screen(self) -> list[Candidate]:
        return list(self.candidates)

    def shortcuts(self, keep: Mask) -> list[Candidate]:
        return super().shortcuts(keep) if self.rules else []
