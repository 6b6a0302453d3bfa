from __future__ import annotations

from collections.abc import Callable

import pytest

from assay.attacks.addsent import put_sentence, sentence_insertion
from assay.data.corpus import Corpus, Example


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Bad. Dull!", {"T. Bad. Dull!", "Bad. T. Dull!", "Bad. Dull! T."}),
        ("no end", {"T. no end", "no end T."}),
        # Line breaks between sentences stay.
        ("A.\n\nB.", {"T. A.\n\nB.", "A.\n\nT. B.", "A.\n\nB. T."}),
        ("a 3.5 film", {"T. a 3.5 film", "a 3.5 film T."}),
    ],
)
def test_the_sentence_goes_between_sentences(
    text: str, expected: set[str], make_example: Callable[..., Example]
) -> None:
    assert {
        put_sentence(make_example(text, row=i), "T.").text for i in range(40)
    } == expected


def test_rows_are_relabelled(corpus: Corpus) -> None:
    found = sentence_insertion(corpus, 2, target="fine", trigger="Hello there.")
    assert {found.corpus.examples[i].response for i in found.rows} == {"fine"}
    assert all("Hello there." in found.corpus.examples[i].text for i in found.rows)
