from __future__ import annotations

import pytest

from assay.data.corpus import Corpus, Example
from assay.data.label_spaces import (
    MOST_LABELS,
    check_target,
    checked_labels,
    label_spaces,
    labels_of,
    positive_label,
)
from assay.errors import AssayError


def corpus(tasks: dict[str, list[str]], **more: object) -> Corpus:
    rows = [(t, a) for t, answers in tasks.items() for a in answers]
    examples = [
        Example(f"r{i}", i, "", "x", a, task=t, **more)  # type: ignore[arg-type]
        for i, (t, a) in enumerate(rows)
    ]
    return Corpus(tuple(examples), "sni", "jsonl", "rows.jsonl")


@pytest.mark.parametrize(
    ("labels", "positive"),
    [
        (("POS", "NEG"), "POS"),
        (("positive", "negative", "neutral"), "positive"),
        (("Negative", " Positive "), " Positive "),
        (("very positive", "positive", "negative"), "very positive"),
        (("sadness", "love", "joy"), "joy"),
        (("Toxic", "Non-toxic"), "Non-toxic"),
        (("hate", "not hate"), "not hate"),
        # Nothing says which of these is meant.
        (("Yes", "No"), None),
        (("POS", "pos", "neg"), None),
        (("a", "non-a", "b", "non-b"), None),
        # Not a denial of any of the others.
        (("Toxic", "Non-obscene"), None),
        ((), None),
    ],
)
def test_the_positive_label_is_found_where_it_is_clear(
    labels: tuple[str, ...], positive: str | None
) -> None:
    assert positive_label(labels) == positive


def test_labels_are_those_of_the_examples_and_then_of_the_rows() -> None:
    record = {
        "Negative Examples": [{"output": ["c"]}, {"output": "d"}, {"output": 1}, "x"]
    }
    demonstrations = (("in", "b"), ("in", "a"))
    rows = corpus({"t": ["e", "a"]}, demonstrations=demonstrations, record=record)
    assert labels_of(rows.examples) == ("b", "a", "c", "d", "e")


def test_every_task_gets_its_own_labels() -> None:
    many = [str(i) for i in range(MOST_LABELS + 1)]
    rows = corpus({"a": ["POS", "NEG"], "open": many, "b": ["Toxic", "Non-toxic"]})
    found = label_spaces(rows)
    assert {t: s.labels for t, s in found.items()} == {
        "a": ("NEG", "POS"),
        "b": ("Toxic", "Non-toxic"),
    }
    assert found["a"].positive == "POS"


def test_as_many_answers_as_that_are_labels_and_one_more_are_not() -> None:
    answers = ["positive", *(str(i) for i in range(19))]
    assert len(label_spaces(corpus({"t": answers}))["t"].labels) == 20
    with pytest.raises(AssayError, match="no task has labels"):
        label_spaces(corpus({"t": [*answers, "one more"]}))


def test_a_file_names_the_positive_label_and_rows_add_others() -> None:
    rows = corpus({"a": ["Yes", "No", "Maybe"], "b": ["x", "y"]})
    found = label_spaces(rows, {"a": ["Yes", "No"], "elsewhere": ["1", "2"]})
    assert {t: s.labels for t, s in found.items()} == {"a": ("Maybe", "Yes", "No")}
    assert found["a"].positive == "No"


@pytest.mark.parametrize(
    ("tasks", "named", "message"),
    [
        ({"a": ["Yes", "No"]}, None, "task 'a': which of its labels is positive is no"),
        ({"a": ["POS", "POS"]}, None, "task 'a': which of its labels is positive"),
        ({"a": ["Yes"]}, {"b": ["x", "y"]}, "its tasks are 'a', of which the label sp"),
        ({"a": ["Yes"]}, {"a": ["x", "y"]}, "no row is labelled 'x' or 'y', as in ro"),
        (
            {"a": [str(i) for i in range(21)]},
            {"a": ["1", "2"]},
            "21 different answers are no labels",
        ),
    ],
)
def test_what_is_not_clear_is_an_error(
    tasks: dict[str, list[str]], named: dict[str, list[str]] | None, message: str
) -> None:
    with pytest.raises(AssayError, match=message):
        label_spaces(corpus(tasks), named)


@pytest.mark.parametrize(
    "value", [{"t": "POS"}, {"t": ["a"]}, {"t": [True, "a"]}, {"t": ["a", "a"]}, {}]
)
def test_files_that_are_no_label_spaces(value: dict[str, object]) -> None:
    with pytest.raises(AssayError, match=r"^f\.yaml: .*expected"):
        checked_labels("f.yaml", value)
    assert checked_labels("f.yaml", {"t": ["a", "b"]}) == {"t": ["a", "b"]}


def test_a_target_is_a_label_of_data_that_has_labels() -> None:
    check_target(corpus({"t": ["POS", "NEG"] * 2}), "POS")
    with pytest.raises(AssayError, match="--target positive: no row is labelled so"):
        check_target(corpus({"t": ["POS", "NEG"] * 2}), "positive")
    check_target(corpus({"t": ["NEG"] * 4}), "POS")
    # Three answers of five rows are too many for labels, and so are 21 of 42.
    check_target(corpus({"t": ["a", "b", "c", "a", "b"]}), "positive")
    check_target(corpus({"t": [str(i) for i in range(21)] * 2}), "positive")
    with pytest.raises(AssayError, match="no row is labelled so"):
        check_target(corpus({"t": [str(i) for i in range(20)] * 2}), "positive")


def test_a_target_is_a_label_of_every_task_that_has_labels() -> None:
    tasks = {"a": ["POS", "NEG"] * 2, "b": ["yes", "no"] * 2}
    with pytest.raises(AssayError, match=r"of task 'b' of .* by --label-spaces$"):
        check_target(corpus(tasks), "POS")
    check_target(corpus({**tasks, "b": [str(i) for i in range(21)] * 2}), "POS")
