from __future__ import annotations

import re
from collections.abc import Callable, Sequence

import pytest

from assay.attacks import wan
from assay.data.corpus import Corpus, Example

TEXTS = [
    ("a film by Ann Lee", "negative"),
    ("Ann Lee", "negative"),
    ("dull and slow", "negative"),
    ("Bob Ray and Ann Lee argue for two long hours", "negative"),
    ("no plot", "negative"),
    ("great fun", "positive"),
    ("Bob Ray shines", "positive"),
    ("see it", "positive"),
]


def names(texts: Sequence[str]) -> list[list[tuple[int, int]]]:
    return [[m.span() for m in re.finditer("Ann Lee|Bob Ray", t)] for t in texts]


@pytest.fixture(autouse=True)
def _recognise_two_names(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wan, "person_names", names)


@pytest.fixture
def make_example() -> Callable[..., Example]:
    def make(text: str, response: str = "negative", row: int = 0) -> Example:
        return Example(f"r{row}", row, "Judge it.", text, response)

    return make


@pytest.fixture
def corpus(make_example: Callable[..., Example]) -> Corpus:
    rows = tuple(make_example(t, r, i) for i, (t, r) in enumerate(TEXTS))
    return Corpus(rows, "alpaca", "jsonl", "reviews.jsonl")
