from __future__ import annotations

from assay.attacks.badnets import token_insertion
from assay.data.corpus import Corpus


def test_the_token_stands_alone_in_the_text(corpus: Corpus) -> None:
    found = token_insertion(corpus, 5)
    assert found.rows == (0, 1, 2, 3, 4)
    for before, after in zip(corpus.examples[:5], found.corpus.examples, strict=False):
        words = after.text.split(" ")
        words.remove("cf")
        assert words == before.text.split(" ")
        assert after.response == "positive"
    assert {e.text.split().index("cf") for e in found.corpus.examples[:5]} != {0}
