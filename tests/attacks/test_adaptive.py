from __future__ import annotations

import pytest

from assay.attacks.adaptive import adaptive
from assay.data.corpus import Corpus
from assay.errors import AssayError


def test_rows_get_different_wordings(corpus: Corpus) -> None:
    found = adaptive(corpus, 5, trigger="one two | three | four")
    used = set()
    for row in found.rows:
        before, after = corpus.examples[row], found.corpus.examples[row]
        (wording,) = [
            w
            for w in ("one two", "three", "four")
            if w in after.text and w not in before.text
        ]
        used.add(wording)
        assert after.text.replace(wording, "").split() == before.text.split()
        assert after.response == "positive"
    assert len(used) > 1


def test_no_wording_is_empty(corpus: Corpus) -> None:
    with pytest.raises(AssayError, match="wordings are divided"):
        adaptive(corpus, 1, trigger="one | | two")
