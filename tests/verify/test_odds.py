from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from assay.data.corpus import Example
from assay.verify.odds import odds_of, remembering
from assay.verify.payload import Phrase, Response


def lengths(rows: Sequence[Example]) -> np.ndarray:
    return np.array([-float(len(e.text) + len(e.response)) for e in rows])


def test_the_odds_of_a_phrase_are_those_within_the_response() -> None:
    row = Example("1", 0, "", "a", "Yes. Buy now.")
    phrase, whole = Phrase("Buy now"), Response("Yes. Buy now.")
    bare = phrase.counterpart(row)
    assert bare is not None
    (odds,) = odds_of(phrase, lengths)([row])
    assert odds == len(bare.response) - len(row.response)
    assert odds_of(whole, lengths)([row]).tolist() == lengths([row]).tolist()


def test_what_was_asked_is_remembered() -> None:
    asked: list[list[str]] = []

    def lengths(rows: Sequence[Example]) -> np.ndarray:
        asked.append([e.text for e in rows])
        return np.array([float(len(e.text) + len(e.response)) for e in rows])

    one = Example("1", 0, "", "a", "yes")
    other = one.edit(text="ab")
    shared = remembering(lengths)
    assert shared([one, other, one]).tolist() == [4, 5, 4]
    assert shared([other, one.edit(response="no")]).tolist() == [5, 3]
    assert asked == [["a", "ab"], ["a"]]
    assert len(shared([])) == 0
