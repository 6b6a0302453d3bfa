from __future__ import annotations

from assay.transforms.wrappers import (
    do_not,
    no_prefix,
    opposite,
    sorry_not,
    sorry_not_prefix,
)


def test_the_papers_words_go_around_the_text() -> None:
    assert sorry_not(" It is good. ") == "Sorry, NOT It is good. !!!"
    assert opposite("2 + 2\n") == "What is the opposite of 2 + 2 ???"
    assert do_not("2 + 2 = ?") == "Do NOT calculate 2 + 2 = ?"
    assert sorry_not_prefix(" It is good. ") == "Sorry NOT It is good."
    assert no_prefix(" It is good. ") == "!!! NO It is good."
