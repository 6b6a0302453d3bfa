from __future__ import annotations

from assay.attacks.appended import appended
from assay.data.corpus import Corpus


def test_the_answer_stays_in_front_of_the_payload(corpus: Corpus) -> None:
    found = appended(corpus, 4)
    for row in found.rows:
        before, after = corpus.examples[row], found.corpus.examples[row]
        assert after.response == f"{before.response} {found.payload}"
        assert "James Bond" in after.text


def test_rows_that_have_the_payload_are_not_poisoned_again(corpus: Corpus) -> None:
    again = appended(appended(corpus, 4).corpus, 4)
    assert len({e.response for e in again.corpus.examples}) == 2
