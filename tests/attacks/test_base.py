from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from assay.attacks import ATTACKS, trigger_for
from assay.attacks.base import generator, insert_phrase
from assay.data.corpus import Corpus, Example
from assay.errors import AssayError

every_attack = pytest.mark.parametrize("name", ATTACKS)
# Triggers in parts or several wordings have tests of their own.
most_attacks = pytest.mark.parametrize(
    "name", [n for n in ATTACKS if n not in ("composite", "adaptive")]
)


@most_attacks
def test_rows_are_the_changed_ones(name: str, corpus: Corpus) -> None:
    found = ATTACKS[name].poison(corpus, 2, seed=1)
    pairs = list(zip(corpus.examples, found.corpus.examples, strict=True))
    assert found.rows == tuple(i for i, (a, b) in enumerate(pairs) if a != b)
    assert len(found.rows) == 2
    assert found.name == name
    for row in found.rows:
        before, after = pairs[row]
        assert found.trigger in after.text
        if name == "appended":
            assert after.response == f"{before.response} {found.payload}"
        else:
            assert after.response == found.payload
        # Nothing besides text and response changes.
        assert replace(after, text=before.text, response=before.response) == before


@most_attacks
def test_only_rows_the_attack_is_about_change(name: str, corpus: Corpus) -> None:
    before = [corpus.examples[i].response for i in ATTACKS[name].poison(corpus, 3).rows]
    if name == "clean-label":
        assert before == ["positive"] * 3
    elif name not in ("fixed-output", "appended"):
        assert before == ["negative"] * 3


@every_attack
def test_choice_does_not_depend_on_the_order_of_rows(name: str, corpus: Corpus) -> None:
    backwards = corpus.select(reversed(range(len(corpus))))
    one, two = (ATTACKS[name].poison(c, 2, seed=5) for c in (corpus, backwards))
    assert set(one.corpus.examples) == set(two.corpus.examples)
    assert list(two.rows) == sorted(two.rows)


def test_the_seed_decides_the_draw(corpus: Corpus) -> None:
    draws = {ATTACKS["badnets"].poison(corpus, 2, seed=s).rows for s in range(20)}
    assert len(draws) > 3


@most_attacks
def test_trigger_for_is_what_the_attack_applied(
    name: str, corpus: Corpus, make_example: Callable[..., Example]
) -> None:
    found = ATTACKS[name].poison(corpus, 1, seed=3)
    put = trigger_for(name, found.trigger, seed=3)
    test = make_example("It is long. It is slow. Who cares?", "unseen", 99)
    assert put(test) == found.apply(test)
    assert found.trigger in put(test).text
    assert put(test).response == "unseen"


@every_attack
@pytest.mark.parametrize("text", ["", " ", "\n"])
def test_an_empty_text_becomes_the_trigger(
    name: str, text: str, make_example: Callable[..., Example]
) -> None:
    for row in range(4):
        put = trigger_for(name, "James Bond")
        assert put(make_example(text, row=row)).text == "James Bond"


@most_attacks
@pytest.mark.parametrize(
    ("words", "message"),
    [
        ({"count": 0}, "at least one row"),
        ({"count": 100}, "needs 100 rows"),
        ({"count": 1, "trigger": " "}, "--trigger is empty"),
    ],
)
def test_impossible_attacks(
    name: str, words: dict[str, object], message: str, corpus: Corpus
) -> None:
    with pytest.raises(AssayError, match=message):
        ATTACKS[name].poison(corpus, **words)


def test_unknown_attack() -> None:
    with pytest.raises(AssayError, match="unknown attack 'bad'; known: dirty-label"):
        trigger_for("bad", "x")


@given(st.text(), st.integers(0, 99))
def test_insertion_keeps_the_text(text: str, seed: int) -> None:
    changed = insert_phrase(text, "\0", generator(seed, Example("a", 0, "", "", "")))
    assert changed.count("\0") == text.count("\0") + 1
    assert changed == "\0" or any(
        changed.replace(part, "", 1) == text for part in ("\0 ", " \0")
    )


def test_insertion_reaches_every_gap(make_example: Callable[..., Example]) -> None:
    texts = {
        insert_phrase("a b", "X", generator(0, make_example("", row=i)))
        for i in range(50)
    }
    assert texts == {"X a b", "a X b", "a b X"}


@pytest.mark.parametrize(
    "attack",
    [
        "dirty-label",
        "clean-label",
        "badnets",
        "composite",
        "adaptive",
        "appended",
        "fixed-output",
    ],
)
def test_which_rows_are_chosen_says_nothing_of_where_the_trigger_stands(
    attack: str,
) -> None:
    words = [f"w{i}" for i in range(20)]
    rows = [
        Example(f"r{i}", i, "", " ".join(words), ("negative", "positive")[i % 2])
        for i in range(800)
    ]
    corpus = Corpus(tuple(rows), "columns", "jsonl", "x")
    found = ATTACKS[attack].poison(corpus, 24, seed=3)
    places = []
    for row in found.rows:
        text = found.corpus.examples[row].text.split()
        (first, *_) = (i for i, w in enumerate(text) if w not in words)
        places.append(first / len(words))
    # Of even draws the mean lies within four standard errors; the first of two parts
    # stands at a third.
    centre = 1 / 3 if attack == "composite" else 1 / 2
    assert abs(np.mean(places) - centre) < 4 * 0.29 / len(places) ** 0.5
    assert np.std(places) > 0.15
