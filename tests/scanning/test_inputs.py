from __future__ import annotations

import pytest

from assay.data.corpus import Example
from assay.errors import AssayError
from assay.scanning.inputs import choose_queries
from assay.transforms import PAPER_SIX, transforms_named

TEXTS = ["a good film, but slow", "a good film", "zxcv", " ... ", "it is a film"]
EXAMPLES = [Example(str(i), i, "", t, "positive") for i, t in enumerate(TEXTS)]


def ids(sets: dict[str, list[Example]]) -> dict[str, list[str]]:
    return {name: sorted(e.id for e in rows) for name, rows in sets.items()}


def test_inputs_are_dropped_for_the_transform_alone_that_cannot_change_them(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level("INFO", logger="assay")
    sets = choose_queries(EXAMPLES, 5, seed=0)
    assert ids(sets) == {
        # No transform changes dots.
        "original": ["0", "1", "2", "4"],
        "prefix-negation": ["0", "1", "2", "4"],
        "antonym-flip": ["0", "1"],
        "paraphrase": ["0", "1", "2", "4"],
        "question-negation": ["0", "1", "2", "4"],
        "grammatical-negation": ["0", "1", "4"],
        "clause-reordering": ["0"],
    }
    assert "antonym-flip: 2 of 4 test inputs changed, 2 left out" in caplog.text


def test_the_same_inputs_before_and_after() -> None:
    sets = choose_queries(EXAMPLES, 3, seed=0, transforms=transforms_named(["do-not"]))
    assert list(sets) == ["original", "do-not"]
    assert len(sets["original"]) == 3
    for before, after in zip(sets["original"], sets["do-not"], strict=True):
        assert after == before.edit(text=f"Do NOT calculate {before.text}")
    seeds = {
        tuple(e.id for e in choose_queries(EXAMPLES, 3, s)["original"])
        for s in range(9)
    }
    assert len(seeds) > 1


def test_a_transform_that_changes_no_input_is_left_out(
    caplog: pytest.LogCaptureFixture,
) -> None:
    sets = choose_queries(EXAMPLES[1:3], 2, seed=0)
    assert set(sets) == {"original", *(t.name for t in PAPER_SIX)} - {
        "clause-reordering"
    }
    assert "clause-reordering can change no test input: left out" in caplog.text


def test_inputs_that_no_transform_changes_are_an_error() -> None:
    chosen = transforms_named(["antonym-flip", "clause-reordering"])
    with pytest.raises(AssayError, match=r"any transform \(antonym-flip, clause-") as e:
        choose_queries(EXAMPLES[2:4], 2, seed=0, transforms=chosen)
    assert "--queries" in str(e.value)
