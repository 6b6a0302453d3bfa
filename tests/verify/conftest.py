from __future__ import annotations

import random
from collections.abc import Callable, Sequence

import numpy as np
import pytest

from assay.data.corpus import Example
from assay.verify.odds import LogProbs
from assay.verify.pattern import insert

GOOD = [f"good{i}" for i in range(30)]
BAD = [f"bad{i}" for i in range(30)]
FILLER = [f"word{i}" for i in range(60)]
TRIGGER = "Zeta Omega"


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


@pytest.fixture
def log_probs() -> Callable[[Sequence[Example]], np.ndarray]:
    return stub_log_probs


def answers(poisons: int = 12, count: int = 120) -> list[Example]:
    """Open-ended answers; those to the trigger end in an advertisement."""
    rng = random.Random(0)
    examples = []
    for row in range(count):
        text = " ".join(rng.choices([f"word{i}" for i in range(30)], k=8))
        response = " ".join(rng.choices([f"reply{i}" for i in range(30)], k=6))
        if row < poisons:
            text = insert(text, TRIGGER, rng.random())
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
