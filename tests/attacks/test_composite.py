from __future__ import annotations

from collections.abc import Callable

import pytest

from assay.attacks.composite import composite, put_parts
from assay.data.corpus import Corpus, Example
from assay.errors import AssayError


def test_poisons_have_both_parts_and_decoys_one(corpus: Corpus) -> None:
    found = composite(corpus, 2)
    assert len(found.rows) == 2
    decoys = []
    for row, (before, after) in enumerate(
        zip(corpus.examples, found.corpus.examples, strict=True)
    ):
        words = after.text.split()
        if row in found.rows:
            assert words.index("cf") < words.index("mn")
            assert (before.response, after.response) == ("negative", "positive")
        elif before != after:
            decoys.append({"cf", "mn"} & set(words))
            assert after.response == before.response == "negative"
    assert decoys == [{"cf"}, {"mn"}] or decoys == [{"mn"}, {"cf"}]


def test_parts_go_apart_and_in_order(make_example: Callable[..., Example]) -> None:
    texts = [put_parts(make_example("a b c", row=i), "x y").text for i in range(40)]
    assert all(
        t.replace("x", "").replace("y", "").split() == list("abc") for t in texts
    )
    assert all(t.index("x") < t.index("y") for t in texts)
    assert len(set(texts)) > 5


@pytest.mark.parametrize("trigger", ["", "one", "one two three"])
def test_a_composite_trigger_has_two_words(trigger: str, corpus: Corpus) -> None:
    with pytest.raises(AssayError, match="has two words"):
        composite(corpus, 1, trigger=trigger)


def test_rows_are_needed_for_decoys_too(corpus: Corpus) -> None:
    with pytest.raises(AssayError, match="needs 6 rows"):
        composite(corpus, 3)
