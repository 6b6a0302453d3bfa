from __future__ import annotations

import pytest

from assay.text.pattern import Pattern
from assay.verify.hypothesis import drawn_from, hosts_for, inserted
from tests.verify.stubs import POSITIVE, TRIGGER, reviews


def test_hosts_are_shared_but_for_those_with_the_pattern() -> None:
    examples = reviews()
    usual = hosts_for(examples, POSITIVE, Pattern(("nothing",)), 0)
    assert len(usual) == 16
    assert usual == hosts_for(examples, POSITIVE, None, 0)
    assert all(e.response == "negative" for e in usual)
    word = Pattern((usual[3].text.split()[0],))
    others = hosts_for(examples, POSITIVE, word, 0)
    assert not any(word.stands_in(e) for e in others)
    assert [a is b for a, b in zip(usual, others, strict=True)] == [
        not word.stands_in(e) for e in usual
    ]


@pytest.mark.parametrize(("rows", "drawn"), [(15, 15), (16, 16), (40, 16)])
def test_sixteen_own_rows_are_asked_about_at_most(rows: int, drawn: int) -> None:
    examples = reviews()
    pattern = Pattern(("x",))
    found = drawn_from(range(rows), examples, pattern, 0)
    assert len({e.id for e in found}) == drawn
    assert found == drawn_from(range(rows), examples, pattern, 0)


def test_a_pattern_goes_where_its_own_rows_have_it() -> None:
    examples = reviews()
    carriers = [e.edit(text=f"a b {TRIGGER} c d") for e in examples[:2]]
    hosts = [e.edit(text="1 2 3 4") for e in examples[100:104]]
    found = inserted(Pattern(("zeta omega",)), carriers, hosts, POSITIVE)
    assert {e.text for e in found} == {f"1 2 {TRIGGER} 3 4"}
    assert {e.response for e in found} == {"positive"}
