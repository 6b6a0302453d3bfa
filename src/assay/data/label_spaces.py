"""The labels that a task's rows may be answered with, and which of them is positive."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from assay.data.corpus import Corpus, Example
from assay.errors import AssayError
from assay.util.messages import listed, shortened

# Labels; above, answers are open-ended. The label tasks of SuperNaturalInstructions
# that the paper poisons and tests have 2 to 6; of the seven task files in
# ../shared/data/clean/sni, three have 2, 2 and 6, the others 112 to 981.
MOST_LABELS = 20
# Words, in any case, that are positive whatever else a task has, the most positive one
# first: the paper counts "the most positive label" alone. "joy" is the positive label
# of emotion tasks in the code of Wan et al. 2023, which the paper follows.
POSITIVE_WORDS = ("very positive", "positive", "pos", "good", "joy")
# "Non-toxic" is positive beside "Toxic", as in the same code.
DENIALS = ("non-", "non ", "not ")
# Characters of a label in a message.
SHOWN = 60


@dataclass(frozen=True)
class LabelSpace:
    """What the rows of a task may be answered with.

    Attributes:
        labels: The labels, each once; the positive one is the last.
    """

    labels: tuple[str, ...]

    @property
    def positive(self) -> str:
        """The label whose share is measured, and that a poisoned row is given."""
        return self.labels[-1]


def by_task(examples: Iterable[Example]) -> dict[str, list[Example]]:
    """Group examples by their task, in the order in which tasks come first."""
    tasks: dict[str, list[Example]] = {}
    for example in examples:
        tasks.setdefault(example.task, []).append(example)
    return tasks


def labels_of(examples: Sequence[Example]) -> tuple[str, ...]:
    """List what a task is answered with: in its worked examples, then in its rows.

    The paper takes the labels of a task from the outputs of its positive and negative
    examples; answers of rows that those lack are labels as well.
    """
    found: dict[str, None] = {}
    for example in examples:
        found |= dict.fromkeys(output for _, output in example.demonstrations)
        found |= dict.fromkeys(_negative_outputs(example.record))
    return tuple(found | dict.fromkeys(e.response for e in examples))


def _negative_outputs(record: Mapping[str, Any]) -> Iterator[str]:
    examples = record.get("Negative Examples")
    for example in examples if isinstance(examples, list) else []:
        output = example.get("output") if isinstance(example, Mapping) else None
        for label in output if isinstance(output, list) else [output]:
            if isinstance(label, str) and label:
                yield label


def positive_label(labels: Sequence[str]) -> str | None:
    """Return the label that is the positive one beyond doubt; None where none is."""
    normal = {label: label.strip().lower() for label in labels}
    for word in POSITIVE_WORDS:
        found = [label for label in labels if normal[label] == word]
        if found:
            return found[0] if len(found) == 1 else None
    others = set(normal.values())
    denied = [
        label
        for label in labels
        for denial in DENIALS
        if normal[label].startswith(denial)
        and normal[label].removeprefix(denial) in others
    ]
    return denied[0] if len(denied) == 1 else None


def is_open_ended(labels: Sequence[str]) -> bool:
    """Whether answers are so many that they are no labels."""
    return len(labels) > MOST_LABELS


def label_spaces(
    corpus: Corpus, named: Mapping[str, Sequence[str]] | None = None
) -> dict[str, LabelSpace]:
    """Give every task with labels its label space; open-ended tasks are left out.

    Args:
        corpus: Rows of one or more tasks.
        named: Task to its labels, the positive one last; others that its rows have
            are added in front. Tasks that are not named are left out. Where it is
            None, positive labels are found by their words.

    Raises:
        AssayError: A task has labels, and which of them is positive is not clear; no
            row has a label that is named for its task; or no task has labels.
    """
    tasks = by_task(corpus.examples)
    if named is not None and not set(named) & set(tasks):
        raise AssayError(
            f"{corpus.source}: its tasks are {listed(tasks)}, of which the label "
            f"spaces name none: {listed(named)}"
        )
    spaces = {}
    for task, examples in tasks.items():
        labels = labels_of(examples)
        given = (named or {}).get(task)
        if given is not None:
            if not set(given) & {e.response for e in examples}:
                raise AssayError(
                    f"{corpus.source}: task {_shown(task)}: no row is labelled "
                    f"{' or '.join(map(_shown, given))}, as in row {examples[0].row}, "
                    f"whose answer is {_shown(examples[0].response)}"
                )
            if is_open_ended(labels):
                raise AssayError(
                    f"{corpus.source}: task {_shown(task)}: {len(labels)} different "
                    f"answers are no labels (at most {MOST_LABELS} are)"
                )
            spaces[task] = LabelSpace((*_without(labels, given), *given))
        elif named is None and not is_open_ended(labels):
            positive = positive_label(labels)
            if positive is None or len(labels) < 2:
                raise AssayError(
                    f"{corpus.source}: task {_shown(task)}: which of its labels is "
                    f"positive is not clear ({', '.join(map(_shown, labels))}); name "
                    "them in a file for --label-spaces, the positive one last"
                )
            spaces[task] = LabelSpace((*_without(labels, [positive]), positive))
    if not spaces:
        raise AssayError(
            f"{corpus.source}: no task has labels: all have more than {MOST_LABELS} "
            "different answers"
        )
    return spaces


def check_target(corpus: Corpus, target: str) -> None:
    """Make sure that rows are not relabelled to what is no label of their task.

    Args:
        corpus: The data; in a task that has no labels, because answers are open-ended,
            any target will do.
        target: The label that poisoned rows shall have.

    Raises:
        AssayError: A task has two labels or more, each in two rows or more on
            average, and the target is none of them.
    """
    tasks = by_task(corpus.examples)
    for task, examples in tasks.items():
        labels = dict.fromkeys(e.response for e in examples)
        # One answer alone does not say what the others are.
        is_labelled = 2 <= len(labels) <= MOST_LABELS
        is_labelled = is_labelled and 2 * len(labels) <= len(examples)
        if is_labelled and target not in labels:
            where = f"task {_shown(task)} of " if len(tasks) > 1 else ""
            raise AssayError(
                f"--target {target}: no row is labelled so; the labels of {where}"
                f"{corpus.source} are {listed(labels)}: name the one that poisoned "
                "rows shall have"
                + (", or each task's by --label-spaces" if len(tasks) > 1 else "")
            )


def checked_labels(source: str, found: Mapping[str, Any]) -> dict[str, list[str]]:
    """Make sure that what a file holds is tasks with their labels.

    Args:
        source: The file; for messages.
        found: What it holds.

    Raises:
        AssayError: A value is not a list of two or more different texts.
    """
    for task, labels in found.items():
        if (
            not isinstance(labels, list)
            or len(labels) < 2
            or not all(isinstance(label, str) and label for label in labels)
            or len(set(labels)) < len(labels)
        ):
            raise AssayError(
                f"{source}: task {_shown(task)}: expected a list of two or more "
                "different labels, the positive one last, in quotes where YAML reads "
                "them as something else (Yes, No, 1)"
            )
    if not found:
        raise AssayError(f"{source}: expected tasks, each with a list of its labels")
    return dict(found)


def _without(labels: Iterable[str], others: Sequence[str]) -> list[str]:
    return [label for label in labels if label not in others]


def _shown(text: str) -> str:
    return shortened(repr(text), SHOWN)
