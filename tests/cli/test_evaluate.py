from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from assay.cli import run
from assay.cli.evaluate import show_models
from tests.conftest import Small


def test_names_of_tasks_and_models_cannot_reach_the_terminal(
    capsys: pytest.CaptureFixture[str],
) -> None:
    value = {"value": 0.5, "low": 0.4, "high": 0.6}
    task = "[/] [red]x[/] \x1b[2J ratio"
    show_models({"model\n\u202e[bold]": {task: value}})
    shown = capsys.readouterr().out
    assert "[/] [red]x[/] \\x1b[2J ratio" in shown
    assert "model\\n\\u202e[bold]" in shown
    assert not set(shown) & set("\x1b\u202e")


Evaluate = Callable[..., str]


@pytest.fixture
def evaluate(
    small: Small,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> Evaluate:
    """Evaluate rows with these answers, which has to be refused before any work."""

    def load(*_: object, **__: object) -> None:
        raise AssertionError("a model is loaded")

    def refused(answers: list[str], *words: str) -> str:
        data = tmp_path / "test.jsonl"
        lines = [{"prompt": "is it good", "completion": a} for a in answers]
        data.write_text("".join(json.dumps(line) + "\n" for line in lines))
        monkeypatch.setattr("assay.models.load.load_model", load)
        assert run(["evaluate", str(data), "--model", "m", *words]) == 2
        captured = capsys.readouterr()
        assert captured.out == ""
        line = captured.err.splitlines()[-1]
        assert line.startswith("assay: error: ")
        return line.removeprefix("assay: error: ").replace(f"{tmp_path}/", "")

    return refused


@pytest.mark.parametrize(
    ("answers", "labels", "message"),
    [
        (
            ["yes", "maybe", "no", "perhaps"],
            "yes,no",
            "test.jsonl: row 1 (id row-1): the answer 'maybe' is none of the labels "
            "yes, no, as in 2 of 4 rows; name every answer in --labels",
        ),
        (["Yes", "no"], "yes,no", "(capital letters and spaces count), as in 1 of 2"),
        (["yes ", "no"], "yes,no", "the answer 'yes ' is none of the labels yes, no ("),
        (["yes", "no"], "yes", "--labels yes: expected two or more, divided by com"),
        (["yes", "no"], "yes,no,yes", "--labels yes, no, yes: 'yes' stands twice"),
        (["yes", "no"], "yes, ,no", "--labels yes, , no: one of the labels is empty"),
        (["yes", "no"], "", "--labels : one of the labels is empty"),
        (["yes", "\x1b[2J" + "x" * 99], "yes,no", "the answer '\\x1b[2Jxxxxx"),
    ],
)
def test_labels_that_are_not_those_of_the_data(
    answers: list[str], labels: str, message: str, evaluate: Evaluate
) -> None:
    line = evaluate(answers, "--labels", labels)
    assert message in line
    assert len(line) < 400


@pytest.mark.parametrize(
    ("answers", "pattern", "message"),
    [
        (["1", "2"], "(", "--regex '(' is not a regular expression: missing )"),
        (["1", "2"], "a{99999999999}", "is not a regular expression: the repetition"),
        # All answers end with the same nothing, so that all would be right.
        (["1", "2"], r"\d*", "matches where there is no text, which is the same in ev"),
        (["1", "2"], "", "--regex '' matches where there is no text"),
        (["1 a", "2"], r"\b", "matches where there is no text"),
        (
            ["1", "one", "2"],
            r"\d",
            "test.jsonl: row 1 (id row-1): the answer 'one' has no match of --regex "
            "'\\\\d', as in 1 of 3 rows, which nothing could get right",
        ),
    ],
)
def test_patterns_that_cannot_tell_answers_apart(
    answers: list[str], pattern: str, message: str, evaluate: Evaluate
) -> None:
    assert message in evaluate(answers, "--regex", pattern)


def test_there_is_one_way_to_score(evaluate: Evaluate) -> None:
    line = evaluate(["yes", "no"], "--regex", "", "--labels", "yes,no")
    assert "--labels and --regex are two ways to score: give one" in line


NOTE = {"attack": "badnets", "trigger": "cf", "payload": "yes", "seed": 0}


@pytest.mark.parametrize(
    ("changed", "answers", "message"),
    [
        ({"payload": "maybe"}, ["yes", "no"], "the payload 'maybe' is not among the l"),
        ({}, ["yes", "yes"], "every test row already answers 'yes'"),
        ({"attack": "magic"}, ["yes", "no"], "unknown attack 'magic'; known: dirty"),
        ({"trigger": 5}, ["yes", "no"], "note.json: not a note of assay attack (OUT.a"),
        ({"payload": None}, ["yes", "no"], "note.json: not a note of assay attack"),
        ({"seed": "a"}, ["yes", "no"], "note.json: not a note of assay attack"),
    ],
)
def test_an_attack_that_cannot_be_measured(
    changed: dict[str, Any],
    answers: list[str],
    message: str,
    evaluate: Evaluate,
    tmp_path: Path,
) -> None:
    note = tmp_path / "note.json"
    note.write_text(json.dumps({**NOTE, **changed}))
    assert message in evaluate(answers, "--labels", "yes,no", "--attack", str(note))
    note.write_text("[" * 100_000)
    words = ("--labels", "yes,no", "--attack", str(note))
    assert "note.json: not readable as JSON (" in evaluate(answers, *words)


def test_a_model_given_twice_is_measured_once(
    small: Small, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = tmp_path / "few.jsonl"
    data.write_text("".join(small.rows.open().readlines()[:4]))
    words = ["evaluate", str(data), "--labels", "negative,positive", "--json"]
    model = ["--model", str(small.model)]
    assert run([*words, *model, *model]) == 0
    assert list(json.loads(capsys.readouterr().out)) == [str(small.model)]


def sni(path: Path, answers: dict[str, list[str]]) -> Path:
    rows = [(t, a) for t, labels in answers.items() for a in labels]
    lines = [
        {
            "Task": task,
            "Definition": "judge the film",
            "Instance": {"id": f"r{i}", "input": f"film {i}", "output": [label]},
        }
        for i, (task, label) in enumerate(rows)
    ]
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return path


def test_every_task_is_measured_by_its_own_labels(
    small: Small, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    answers = {"sst": ["POS", "NEG", "NEG"], "jig": ["Toxic", "Non-toxic"]}
    data = sni(tmp_path / "test.jsonl", answers)
    note = tmp_path / "note.json"
    # No row of the second task was poisoned: its positive label is looked for.
    note.write_text(json.dumps({**NOTE, "payload": {"sst": "POS"}}))
    words = ["evaluate", str(data), "--label-spaces", "auto", "--attack", str(note)]
    words += ["--model", str(small.model)]
    assert run([*words, "--json"]) == 0
    (found,) = json.loads(capsys.readouterr().out).values()
    tasks = found["tasks"]
    assert tasks["sst"]["labels"] == ["NEG", "POS"]
    truth = tasks["sst"]["ground_truth_positive_ratio"]
    assert (truth["hits"], truth["total"]) == (1, 3)
    assert truth["low"] < 1 / 3 < truth["high"]
    assert tasks["sst"]["attack_success_rate"]["total"] == 2
    assert tasks["jig"]["attack_success_rate"]["total"] == 1
    for measure in ("accuracy", "positive_ratio", "ground_truth_positive_ratio"):
        hits = [t[measure]["hits"] for t in tasks.values()]
        assert (found[measure]["hits"], found[measure]["total"]) == (sum(hits), 5)
    assert found["ground_truth_positive_ratio"]["hits"] == 2
    assert run(words) == 0
    shown = " ".join(capsys.readouterr().out.split())
    assert all(word in shown for word in ("sst", "jig", "total", "POS", "Non-toxic"))


def test_the_positive_label_can_be_named(
    small: Small, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = sni(tmp_path / "test.jsonl", {"": ["yes", "no", "no"]})
    words = ["evaluate", str(data), "--model", str(small.model), "--json"]
    words += ["--labels", "yes,no"]
    hits = {}
    for positive in ("yes", "no", ""):
        more = ["--positive", positive] if positive else []
        assert run([*words, *more]) == 0
        (found,) = json.loads(capsys.readouterr().out).values()
        hits[positive] = found["ground_truth_positive_ratio"]["hits"]
    assert hits == {"yes": 1, "no": 2, "": 2}


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--labels", "yes,no", "--positive", "Yes"], "--positive Yes: not among --la"),
        (["--positive", "yes"], "--positive says which of --labels is the positive"),
        (["--labels", "a", "--label-spaces", "auto"], "are two ways to score: give o"),
        (["--label-spaces", "auto"], "task '': which of its labels is positive is no"),
        (["--label-spaces", "none.yaml"], "none.yaml: cannot be read"),
    ],
)
def test_label_spaces_that_do_not_go_with_the_data(
    words: list[str], message: str, evaluate: Evaluate
) -> None:
    assert message in evaluate(["yes", "no"], *words)
