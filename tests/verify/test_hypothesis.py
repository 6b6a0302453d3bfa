from __future__ import annotations

from assay.verify.hypothesis import hosts_for
from assay.verify.pattern import spans
from assay.verify.payload import Payload
from tests.verify.conftest import reviews


def test_hosts_are_shared_but_for_those_with_the_pattern() -> None:
    examples = reviews()
    usual = hosts_for(examples, Payload("positive"), "nothing", 0)
    assert len(usual) == 16
    assert all(e.response == "negative" for e in usual)
    word = usual[3].text.split()[0]
    others = hosts_for(examples, Payload("positive"), word, 0)
    assert not any(spans(e.text, word) for e in others)
    assert [a is b for a, b in zip(usual, others, strict=True)] == [
        not spans(e.text, word) for e in usual
    ]
