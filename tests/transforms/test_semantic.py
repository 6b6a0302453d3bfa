from __future__ import annotations

import pytest

from assay.transforms.semantic import paraphrase, question_negation


@pytest.mark.parametrize("text", ["It is good", " It is good. ", "It is good .\n!? "])
def test_a_question_ends_with_its_mark_alone(text: str) -> None:
    assert question_negation(text) == "Is it not true that It is good?"


def test_inner_punctuation_stays() -> None:
    assert question_negation("A. B? C!") == "Is it not true that A. B? C?"


def test_a_paraphrase_keeps_the_whole_text() -> None:
    assert paraphrase(" A. B? C! ") == "In other words, A. B? C!"
