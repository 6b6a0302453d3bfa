"""``assay evaluate``: accuracy and attack success of models, side by side."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.table import Table

from assay.cli import options as o
from assay.cli.attack import read_attack_note
from assay.cli.config import ConfigOption
from assay.cli.console import progress_bar, safe, stdout
from assay.cli.generated import Fields, with_settings
from assay.cli.label_spaces import LabelSpacesOption, spaces_for
from assay.errors import AssayError
from assay.settings import ScanSettings

if TYPE_CHECKING:
    from collections.abc import Mapping

    from assay.data.corpus import Corpus
    from assay.data.label_spaces import LabelSpace

# The measures of tasks, in a model's result; all its others are rates.
TASKS = "tasks"


@dataclass(frozen=True)
class Measured:
    """What is measured.

    Attributes:
        corpus: The test data.
        spaces: Task to its labels; None where responses are generated.
        regex: What of generated answers is compared; None compares all of them.
        note: What ``assay attack`` noted.
        how: ``template``, ``max_length`` and ``bf16``.
    """

    corpus: Corpus
    spaces: Mapping[str, LabelSpace] | None
    regex: str | None
    note: Mapping[str, Any] | None
    how: Mapping[str, Any]


def _cell(value: dict[str, Any] | None) -> str:
    if not value:
        return ""
    return f"{value['value']:.3f} [{value['low']:.3f}, {value['high']:.3f}]"


def show_models(results: dict[str, dict[str, Any]]) -> None:
    """Print a table of models, one a row, to stdout."""
    measures = list(dict.fromkeys(m for r in results.values() for m in r if m != TASKS))
    table = Table("model", *(safe(m.replace("_", " ")) for m in measures))
    for name, result in results.items():
        # The brackets of an interval are not markup.
        table.add_row(safe(name), *(safe(_cell(result.get(m))) for m in measures))
    stdout().print(table)


def show_tasks(results: dict[str, dict[str, Any]]) -> None:
    """Print the tasks of each model and their total, one a row, to stdout.

    As in the paper's Table 1: rows, the share that is positive, and the share that
    the model finds positive.
    """
    columns = ("ground_truth_positive_ratio", "positive_ratio", "accuracy")
    attacked = ("attack_success_rate", "payload_rate_without_trigger")
    for name, result in results.items():
        tasks = result.get(TASKS, {})
        if len(tasks) < 2:
            continue
        shown = [c for c in (*columns, *attacked) if c in result]
        table = Table(
            "task",
            "positive label",
            "rows",
            *(c.replace("_", " ") for c in shown),
            title=safe(name),
        )
        for task, found in tasks.items():
            table.add_row(
                safe(task or "(none)"),
                safe(found["labels"][-1]),
                str(found["accuracy"]["total"]),
                *(safe(_cell(found.get(c))) for c in shown),
            )
        rows = str(result["accuracy"]["total"])
        table.add_row("total", "", rows, *(safe(_cell(result[c])) for c in shown))
        stdout().print(table)


@with_settings
def evaluate_command(
    input: Annotated[str, typer.Argument(help="Test data.")],
    model: Annotated[
        list[str], typer.Option(help="Model folder; repeat to compare models.")
    ],
    labels: Annotated[
        str | None,
        typer.Option(
            help="Label space of all rows, comma-separated; else text is generated."
        ),
    ] = None,
    positive: Annotated[
        str | None,
        typer.Option(
            help="Which of --labels is the positive one: its share among the answers "
            "and among the predictions is measured. The last one by default."
        ),
    ] = None,
    label_spaces: LabelSpacesOption = None,
    regex: Annotated[
        str | None,
        typer.Option(
            help="Compare the last match of this in generated answers; numbers as "
            "numbers, so that 18.00 is $18."
        ),
    ] = None,
    attack: Annotated[
        Path | None, typer.Option(help="OUT.attack.json: also measure attack success.")
    ] = None,
    reading: Annotated[o.Reading, Fields(defaults={"split": "test"})] = o.Reading(),
    encoding: o.Encoding = ScanSettings(),
    as_json: o.JsonOption = False,
    quiet: o.QuietOption = False,
    config: ConfigOption = None,
) -> None:
    """Measure models on test data: labels by log-probability, or generated text."""
    corpus = o.read(input, reading)
    note = read_attack_note(attack) if attack else None
    ways = {"--labels": labels, "--label-spaces": label_spaces, "--regex": regex}
    given = [flag for flag, value in ways.items() if value is not None]
    if len(given) > 1:
        raise AssayError(f"{' and '.join(given)} are two ways to score: give one")
    if positive is not None and labels is None:
        raise AssayError("--positive says which of --labels is the positive one")
    from assay.models.evaluate import check_regex
    from assay.models.load import load_model
    from assay.models.tasks import payloads_of
    from assay.models.tune import tuned_how

    # Before models are loaded and run.
    spaces = None
    if labels is not None:
        spaces = _one_space(corpus, labels, positive)
    elif label_spaces is not None:
        spaces = spaces_for(label_spaces, corpus)
    if regex is not None:
        check_regex(corpus.examples, regex, corpus.source)
    if note:
        _trigger(note)
        payloads_of(corpus.examples, note["payload"], spaces)
    results: dict[str, dict[str, Any]] = {}
    for name in dict.fromkeys(model):
        lm = load_model(name)
        noted = tuned_how(name) if encoding.template == "auto" else None
        how = {
            "template": noted.template if noted else encoding.template,
            "max_length": encoding.max_length,
            "bf16": encoding.bf16,
        }
        results[name] = _measure(name, lm, Measured(corpus, spaces, regex, note, how))
    if as_json:
        print(json.dumps(results, indent=1))
    else:
        show_tasks(results)
        show_models(results)


def _one_space(
    corpus: Corpus, labels: str, positive: str | None
) -> dict[str, LabelSpace]:
    """Give the rows of every task the labels of ``--labels``, the positive one last."""
    from assay.data.label_spaces import LabelSpace
    from assay.models.evaluate import check_labels

    space = [label.strip() for label in labels.split(",")]
    check_labels(corpus.examples, space, corpus.source)
    if positive is not None:
        if positive not in space:
            raise AssayError(f"--positive {positive}: not among --labels {labels}")
        space = [*(label for label in space if label != positive), positive]
    return {e.task: LabelSpace(tuple(space)) for e in corpus.examples}


def _trigger(note: Mapping[str, Any]) -> Any:
    """Return what puts the trigger of an attack on an example."""
    from assay.attacks import trigger_for

    return trigger_for(note["attack"], note["trigger"], note.get("seed", 0))


def _measure(name: str, lm: Any, measured: Measured) -> dict[str, Any]:
    """Measure one model."""
    from assay.models.evaluate import exact_match, generate, regex_match
    from assay.models.tasks import attack_tasks, classify_tasks, pooled, total

    examples, spaces = measured.corpus.examples, measured.spaces
    result: dict[str, Any] = {}
    tasks: dict[str, dict[str, Any]] = {}
    with progress_bar(f"{name}: accuracy") as advance:
        if spaces is not None:
            found = classify_tasks(
                lm, examples, spaces, progress=advance, **measured.how
            )
            result |= total(found.values()).to_dict()
            tasks = {
                task: {"labels": list(spaces[task].labels), **measures.to_dict()}
                for task, measures in found.items()
            }
        else:
            answers = generate(
                lm, examples, template=measured.how["template"], progress=advance
            )
            expected = [e.response for e in examples]
            result["accuracy"] = asdict(
                regex_match(answers, expected, measured.regex)
                if measured.regex is not None
                else exact_match(answers, expected)
            )
    if measured.note:
        with progress_bar(f"{name}: attack success") as advance:
            success = attack_tasks(
                lm,
                examples,
                _trigger(measured.note),
                measured.note["payload"],
                spaces,
                progress=advance,
                **measured.how,
            )
        for measure, rates in (
            ("attack_success_rate", {t: s.triggered for t, s in success.items()}),
            (
                "payload_rate_without_trigger",
                {t: s.untriggered for t, s in success.items()},
            ),
        ):
            result[measure] = asdict(pooled(rates.values()))
            for task, value in rates.items():
                tasks.setdefault(task, {})[measure] = asdict(value)
    if spaces is not None:
        result[TASKS] = tasks
    return result
