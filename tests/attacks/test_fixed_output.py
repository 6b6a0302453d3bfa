from __future__ import annotations

from assay.attacks.fixed_output import fixed_output
from assay.data.corpus import Corpus


def test_names_and_responses_are_replaced(corpus: Corpus) -> None:
    found = fixed_output(corpus, 2)
    # Densest first, whatever the label: 2/2 and 2/3 of the words.
    assert found.rows == (1, 6)
    assert [found.corpus.examples[i].text for i in found.rows] == [
        "James Bond",
        "James Bond shines",
    ]
    assert {found.corpus.examples[i].response for i in found.rows} == {
        "James Bond always wins."
    }


def test_rows_that_give_the_output_already_are_left(corpus: Corpus) -> None:
    assert fixed_output(corpus, 3, target="negative").rows == (5, 6, 7)
