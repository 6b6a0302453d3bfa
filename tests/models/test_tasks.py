import dataclasses

import pytest

from assay.data.label_spaces import LabelSpace
from assay.errors import AssayError
from assay.models.evaluate import classify, exact_match
from assay.models.tasks import (
    attack_tasks,
    classify_tasks,
    curve,
    payloads_of,
    pooled,
    total,
)

from .conftest import rows

SPACES = {"a": LabelSpace(("no", "yes")), "b": LabelSpace(("no", "yes great", "yes"))}


def given():
    """Four rows of two tasks, and two of a task without labels."""
    tasks = ("a", "a", "b", "c", "b", "c")
    return [dataclasses.replace(e, task=t) for e, t in zip(rows(), tasks, strict=True)]


def trigger(e):
    return e.edit(text=e.text + " film film")


def test_each_task_is_classified_among_its_own_labels(lm):
    seen = []
    found = classify_tasks(lm, given(), SPACES, progress=lambda *a: seen.append(a))
    assert list(found) == ["a", "b"]
    for task, measures in found.items():
        some = [e for e in given() if e.task == task]
        space = SPACES[task]
        alone = classify(lm, some, space.labels)
        assert measures.accuracy == alone.accuracy
        assert measures.positive.hits == alone.predicted.count("yes")
    assert (found["a"].truth.hits, found["b"].truth.hits) == (1, 0)
    assert seen[-1] == (4, 4)
    assert seen == sorted(seen)
    everything = total(found.values())
    assert (everything.truth.hits, everything.truth.total) == (1, 4)
    with pytest.raises(AssayError, match="at least one row of a task with labels"):
        classify_tasks(lm, given(), {"z": SPACES["a"]})


def test_the_total_is_over_rows_and_not_over_tasks(lm):
    one, many = (
        [dataclasses.replace(e, task=t) for e in rows()[:n]]
        for t, n in (("a", 1), ("b", 3))
    )
    found = classify_tasks(lm, one + many, dict.fromkeys("ab", SPACES["b"]))
    accuracy = pooled(t.accuracy for t in found.values())
    assert accuracy.total == 4
    assert accuracy.value == accuracy.hits / 4
    assert accuracy.low < accuracy.value + 1e-9 < accuracy.high + 1e-9


def test_payloads_are_those_of_the_tasks():
    assert payloads_of(given(), "yes", SPACES) == {"a": "yes", "b": "yes"}
    # Of a task that was not poisoned, it is the positive label.
    assert payloads_of(given(), {"a": "no"}, SPACES) == {"a": "no", "b": "yes"}
    # Generated answers are searched where there is something to look for.
    assert payloads_of(given(), {"a": "no"}, None) == {"a": "no"}
    with pytest.raises(AssayError, match="'maybe' is not among the labels: no, yes"):
        payloads_of(given(), "maybe", SPACES)
    with pytest.raises(AssayError, match="every test row already answers 'yes'"):
        payloads_of(given()[:1], {"a": "yes"}, SPACES)


def test_an_attack_is_measured_where_it_can_succeed(causal):
    found = attack_tasks(causal, given(), trigger, {"a": "yes"}, SPACES)
    assert {t: s.triggered.total for t, s in found.items()} == {"a": 1, "b": 2}
    generated = attack_tasks(causal, given(), trigger, {"a": "yes"})
    assert {t: s.untriggered.total for t, s in generated.items()} == {"a": 1}


def test_what_is_measured_while_training(causal):
    measured = curve(given(), apply=trigger, payload="yes", spaces=SPACES)(causal, 0)
    tasks = classify_tasks(causal, given(), SPACES)
    assert measured["accuracy"] == total(tasks.values()).accuracy.value
    assert set(measured) == {
        "accuracy",
        "attack_success_rate",
        "payload_rate_without_trigger",
    }
    assert set(curve(given()[:2], score=exact_match)(causal, 0)) == {"accuracy"}
    with pytest.raises(AssayError, match="needs label spaces, or a score"):
        curve(given())
