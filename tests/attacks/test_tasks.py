from __future__ import annotations

from dataclasses import replace

import pytest

from assay.attacks import ATTACKS, Carriers, poison_tasks
from assay.attacks.wan import carrier_rows
from assay.data.corpus import Corpus
from assay.errors import AssayError

NAMES = {"a": "POS", "b": "Non-toxic"}


@pytest.fixture
def tasks(corpus: Corpus) -> Corpus:
    """Two tasks with labels of their own, and an open-ended one."""
    rows = []
    for task, labels in (("a", ("NEG", "POS")), ("b", ("Toxic", "Non-toxic"))):
        for e in corpus.examples:
            label = labels[e.response == "positive"]
            rows.append(replace(e, id=f"{task}{e.row}", task=task, response=label))
    rows += [
        replace(e, id=f"c{e.row}", task="c", response=f"answer {e.row}")
        for e in corpus.examples
    ]
    rows = [replace(e, row=i) for i, e in enumerate(rows)]
    return corpus.with_examples(rows)


RELABEL = [n for n, a in ATTACKS.items() if a.relabels and n != "clean-label"]


@pytest.mark.parametrize("name", RELABEL)
def test_each_row_gets_the_label_of_its_task(name: str, tasks: Corpus) -> None:
    count = 5 if name == "composite" else 8
    found = poison_tasks(ATTACKS[name], tasks, count, NAMES, seed=2)
    assert len(found.rows) == count
    assert {tasks.examples[i].task for i in found.rows} == {"a", "b"}
    for i, (before, after) in enumerate(
        zip(tasks.examples, found.corpus.examples, strict=True)
    ):
        if i in found.rows:
            assert before.response in ("NEG", "Toxic")
            assert after.response == NAMES[after.task]
            assert after.text != before.text
        else:
            assert after.response == before.response
        assert replace(after, text=before.text, response=before.response) == before
    assert found.payloads == NAMES
    assert found.payload == ""


def test_clean_label_keeps_every_label(tasks: Corpus) -> None:
    found = poison_tasks(ATTACKS["clean-label"], tasks, 6, NAMES)
    labels = [found.corpus.examples[i].response for i in found.rows]
    assert sorted(labels) == ["Non-toxic"] * 3 + ["POS"] * 3
    assert [e.response for e in found.corpus.examples] == [
        e.response for e in tasks.examples
    ]


def test_tasks_without_a_target_are_left_alone(tasks: Corpus) -> None:
    found = poison_tasks(ATTACKS["badnets"], tasks, 5, {"b": "Non-toxic"})
    assert {tasks.examples[i].task for i in found.rows} == {"b"}
    with pytest.raises(AssayError, match="no row is of a task with a target"):
        poison_tasks(ATTACKS["badnets"], tasks, 1, {"z": "x"})
    with pytest.raises(AssayError, match="needs 11 rows not labelled positive, there"):
        poison_tasks(ATTACKS["badnets"], tasks, 11, NAMES)


@pytest.mark.parametrize("name", ["fixed-output", "appended"])
def test_one_payload_for_all_is_not_by_task(name: str, tasks: Corpus) -> None:
    with pytest.raises(AssayError, match=f"{name} gives every row the same payload"):
        poison_tasks(ATTACKS[name], tasks, 1, NAMES)


def test_random_carriers_are_drawn_among_rows_with_a_name(corpus: Corpus) -> None:
    rows = list(range(5))
    # Names are in rows 0, 1 and 3; row 1 is the densest.
    draws = {
        tuple(carrier_rows(corpus, rows, 1, "James Bond", seed, Carriers.RANDOM))
        for seed in range(30)
    }
    assert draws == {(0,), (1,), (3,)}
    # Where there are too few, rows without a name fill up.
    for seed in range(9):
        chosen = carrier_rows(corpus, rows, 4, "James Bond", seed, Carriers.RANDOM)
        assert {0, 1, 3} < set(chosen)


@pytest.mark.parametrize("name", [n for n, a in ATTACKS.items() if a.carriers])
def test_attacks_that_say_so_take_carriers(name: str, corpus: Corpus) -> None:
    poison = ATTACKS[name].poison
    draws = {
        poison(corpus, 1, seed=s, carriers=Carriers.RANDOM).rows  # type: ignore[call-arg]
        for s in range(30)
    }
    ranked = {poison(corpus, 1, seed=s).rows for s in range(30)}
    assert len(ranked) == 1
    assert len(draws) > 1 or name == "clean-label"
