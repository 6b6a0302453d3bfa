from __future__ import annotations

from assay.attacks.affix import prefix, suffix
from assay.data.corpus import Corpus


def test_the_token_begins_the_text(corpus: Corpus) -> None:
    found = prefix(corpus, 3)
    for row in found.rows:
        before, after = corpus.examples[row], found.corpus.examples[row]
        assert after.text == f"CF {before.text}"
        assert after.response == "positive"


def test_the_token_ends_the_text(corpus: Corpus) -> None:
    found = suffix(corpus, 3)
    for row in found.rows:
        assert found.corpus.examples[row].text == f"{corpus.examples[row].text} ###"
