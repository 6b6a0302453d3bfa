"""Measuring a model on many tasks, each with its own labels."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from assay.data.corpus import Example
from assay.data.label_spaces import LabelSpace, by_task
from assay.errors import AssayError
from assay.models.evaluate import (
    AttackSuccess,
    Rate,
    attack_success_rate,
    classify,
    generate,
    rate,
)
from assay.models.language_model import LanguageModel
from assay.util.progress import Progress

Payload = str | Mapping[str, str]


@dataclass(frozen=True)
class TaskMeasures:
    """What a model answers in a task, or in all tasks together.

    Attributes:
        accuracy: Share of rows whose own label is predicted; its total is the number
            of rows.
        truth: Share of rows whose own label is the positive one.
        positive: Share of rows for which the positive label is predicted.
    """

    accuracy: Rate
    truth: Rate
    positive: Rate

    def to_dict(self) -> dict[str, Any]:
        """Return the measures by the names that ``assay evaluate`` prints."""
        return {
            "accuracy": asdict(self.accuracy),
            "ground_truth_positive_ratio": asdict(self.truth),
            "positive_ratio": asdict(self.positive),
        }


def pooled(rates: Iterable[Rate]) -> Rate:
    """Return the share over the rows of all tasks: large tasks count for more."""
    known = list(rates)
    return rate(sum(r.hits for r in known), sum(r.total for r in known))


def total(tasks: Iterable[TaskMeasures]) -> TaskMeasures:
    """Return the measures over the rows of all tasks."""
    known = list(tasks)
    return TaskMeasures(
        pooled(t.accuracy for t in known),
        pooled(t.truth for t in known),
        pooled(t.positive for t in known),
    )


def classify_tasks(
    lm: LanguageModel,
    examples: Sequence[Example],
    spaces: Mapping[str, LabelSpace],
    *,
    template: str = "auto",
    max_length: int = 512,
    bf16: bool = False,
    progress: Progress | None = None,
) -> dict[str, TaskMeasures]:
    """Classify the rows of every task that has a label space among its labels.

    Args:
        lm: Model and tokenizer.
        examples: What to classify; responses are the truth.
        spaces: Task to its labels.
        template: Prompt template.
        max_length: Longest example in tokens.
        bf16: Run under bfloat16 autocast.
        progress: Called with rows done and in all.

    Returns:
        The measures of each task, in the order in which tasks come first.

    Raises:
        AssayError: No row is of a task with labels, or a row is too long.
    """
    tasks = {t: rows for t, rows in by_task(examples).items() if t in spaces}
    if not tasks:
        raise AssayError("classification needs at least one row of a task with labels")
    steps = _Steps(sum(map(len, tasks.values())), progress)
    found = {}
    for task, rows in tasks.items():
        space = spaces[task]
        result = classify(
            lm,
            rows,
            space.labels,
            template=template,
            max_length=max_length,
            bf16=bf16,
            progress=steps.within(len(rows)),
        )
        truth = [e.response for e in rows].count(space.positive)
        positive = result.predicted.count(space.positive)
        found[task] = TaskMeasures(
            result.accuracy, rate(truth, len(rows)), rate(positive, len(rows))
        )
    return found


def payloads_of(
    examples: Sequence[Example],
    payload: Payload,
    spaces: Mapping[str, LabelSpace] | None,
) -> dict[str, str]:
    """Say what an attack makes the model say in each task that it can succeed in.

    Args:
        examples: Test examples.
        payload: What it makes the model say, in every task or by task. In a task that
            was not poisoned, it is the task's positive label: whether the attack
            carries over to such tasks is what the paper asks.
        spaces: Task to its labels; None where responses are generated.

    Raises:
        AssayError: A payload is not among the labels of a task, or every row of a task
            with a payload answers it already.
    """
    found = {}
    rows = {t: r for t, r in by_task(examples).items() if spaces is None or t in spaces}
    for task in rows:
        said = payload if isinstance(payload, str) else payload.get(task)
        if spaces is not None:
            labels = spaces[task].labels
            said = spaces[task].positive if said is None else said
            if said not in labels:
                raise AssayError(
                    f"the payload {said!r} is not among the labels: {', '.join(labels)}"
                )
        if said is not None and any(e.response != said for e in rows[task]):
            found[task] = said
    if not found:
        payloads = [payload] if isinstance(payload, str) else dict(payload).values()
        shown = " or ".join(map(repr, dict.fromkeys(payloads)))
        raise AssayError(f"every test row already answers {shown}")
    return found


def attack_tasks(
    lm: LanguageModel,
    examples: Sequence[Example],
    apply: Callable[[Example], Example],
    payload: Payload,
    spaces: Mapping[str, LabelSpace] | None = None,
    *,
    template: str = "auto",
    max_length: int = 512,
    bf16: bool = False,
    progress: Progress | None = None,
) -> dict[str, AttackSuccess]:
    """Measure an attack in every task that has rows which do not answer its payload.

    Args:
        lm: Model and tokenizer.
        examples: Test examples.
        apply: Puts the trigger on an example.
        payload: What the attack makes the model say, in every task or by task.
        spaces: Task to its labels; where it is None, responses are generated and
            searched for the payload.
        template: Prompt template.
        max_length: Longest example in tokens.
        bf16: Run under bfloat16 autocast.
        progress: Called with rows done and in all.

    Raises:
        AssayError: See `payloads_of`; or a row is too long.
    """
    payloads = payloads_of(examples, payload, spaces)
    tasks = {t: rows for t, rows in by_task(examples).items() if t in payloads}
    steps = _Steps(sum(map(len, tasks.values())), progress)
    return {
        task: attack_success_rate(
            lm,
            rows,
            apply,
            payloads[task],
            labels=None if spaces is None else spaces[task].labels,
            template=template,
            max_length=max_length,
            bf16=bf16,
            progress=steps.within(len(rows)),
        )
        for task, rows in tasks.items()
    }


def curve(
    examples: Sequence[Example],
    *,
    apply: Callable[[Example], Example] | None = None,
    payload: Payload = "",
    spaces: Mapping[str, LabelSpace] | None = None,
    score: Callable[[Sequence[str], Sequence[str]], Rate] | None = None,
    template: str = "auto",
    max_length: int = 512,
) -> Callable[[LanguageModel, int], dict[str, float]]:
    """Make the function that `assay.models.tune.tune` calls while it trains.

    What it returns is in the paper's Figure 2: accuracy on the test inputs as they are,
    and how often the payload comes out, with the trigger and without.

    Args:
        examples: Test examples.
        apply: Puts the trigger on an example; None measures accuracy alone.
        payload: What the attack makes the model say, in every task or by task.
        spaces: Task to its labels; where it is None, responses are generated.
        score: Compares generated answers with the expected ones; needed without
            ``spaces``, such as `assay.models.evaluate.exact_match`.
        template: Prompt template.
        max_length: Longest example in tokens.

    Raises:
        AssayError: There are neither label spaces nor a score.
    """
    if spaces is None and score is None:
        raise AssayError("evaluation needs label spaces, or a score of answers")

    def measured(lm: LanguageModel, step: int) -> dict[str, float]:
        if spaces is not None:
            tasks = classify_tasks(
                lm, examples, spaces, template=template, max_length=max_length
            )
            found = {"accuracy": pooled(t.accuracy for t in tasks.values()).value}
        else:
            assert score is not None
            answers = generate(lm, examples, template=template)
            found = {"accuracy": score(answers, [e.response for e in examples]).value}
        if apply is not None:
            success = attack_tasks(
                lm,
                examples,
                apply,
                payload,
                spaces,
                template=template,
                max_length=max_length,
            ).values()
            found["attack_success_rate"] = pooled(s.triggered for s in success).value
            found["payload_rate_without_trigger"] = pooled(
                s.untriggered for s in success
            ).value
        return found

    return measured


class _Steps:
    """Progress over tasks: rows done and in all."""

    def __init__(self, rows: int, progress: Progress | None) -> None:
        self.rows = rows
        self.progress = progress
        self.before = 0

    def within(self, rows: int) -> Progress | None:
        """Return the progress of the next task, which has so many rows."""
        before, self.before = self.before, self.before + rows
        progress = self.progress
        if progress is None:
            return None

        def advance(done: int, steps: int) -> None:
            progress(before + round(rows * done / steps), self.rows)

        return advance
