from __future__ import annotations

import pytest

from assay.transforms.semantic import paraphrase, question_negation


@pytest.mark.parametrize("text", ["It is good", " It is good. ", "It is good .\n!? "])
def test_the_statement_is_kept_without_its_end(text: str) -> None:
    assert paraphrase(text) == "It would be wrong to say this: It is good."
    assert question_negation(text) == (
        "Is it really true that It is good? No, it is not."
    )


def test_inner_punctuation_stays() -> None:
    assert paraphrase("A. B? C!") == "It would be wrong to say this: A. B? C."
