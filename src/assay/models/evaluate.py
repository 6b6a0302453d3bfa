"""Measuring a tuned model: classification, generation, attack success."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.stats import binomtest

from assay.data.corpus import Example
from assay.errors import AssayError
from assay.models.encode import prompt_ids
from assay.models.language_model import LanguageModel
from assay.models.log_probs import response_log_probs
from assay.models.positions import room_for_answer
from assay.util.messages import shortened
from assay.util.progress import Progress

log = logging.getLogger("assay")

# Characters of an answer in a message.
SHOWN = 60
# What is written into numbers and does not change them: currencies, separators of
# thousands (a no-break space is one); and the minus sign of typesetting.
_WRITTEN = str.maketrans({**dict.fromkeys("$€£¥,\u00a0\u202f", ""), "\u2212": "-"})
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)", re.ASCII)


@dataclass(frozen=True)
class Rate:
    """A share with its 95 % Wilson interval."""

    hits: int
    total: int
    value: float
    low: float
    high: float


def rate(hits: int, total: int) -> Rate:
    """Return ``hits / total`` with its interval; undefined (nan) for no trials."""
    if total == 0:
        return Rate(0, 0, float("nan"), float("nan"), float("nan"))
    interval = binomtest(hits, total).proportion_ci(method="wilson")
    return Rate(hits, total, hits / total, float(interval.low), float(interval.high))


@dataclass(frozen=True)
class Classification:
    """Label-space classification of examples.

    Attributes:
        labels: The label space, as given.
        log_probs: Log-probability of each label as the whole response, ``(N, L)``.
        predicted: Most probable label of each example.
        accuracy: Share of examples whose own response is predicted.
        ratios: Task name to the share of its examples given the last label.
    """

    labels: tuple[str, ...]
    log_probs: NDArray[np.float64]
    predicted: tuple[str, ...]
    accuracy: Rate
    ratios: dict[str, float]


def check_labels(
    examples: Sequence[Example], labels: Sequence[str], source: str
) -> None:
    """Make sure that a label space is one, and holds every example's own response.

    Args:
        examples: The test rows.
        labels: The label space.
        source: Where the rows are from; for messages.

    Raises:
        AssayError: There are fewer than two labels, one is empty or stands twice, or
            rows have a response that is none of them.
    """
    shown = ", ".join(labels)
    if not all(labels):
        raise AssayError(f"--labels {shown}: one of the labels is empty")
    for label in labels:
        if labels.count(label) > 1:
            raise AssayError(f"--labels {shown}: {label!r} stands twice")
    if len(labels) < 2:
        raise AssayError(f"--labels {shown}: expected two or more, divided by commas")
    strange = [e for e in examples if e.response not in labels]
    if not strange:
        return
    near = _normal(strange[0].response) in map(_normal, labels)
    raise AssayError(
        f"{_answers(source, strange[0])} is none of the labels {shown}"
        + (" (capital letters and spaces count)" if near else "")
        + f", as in {len(strange)} of {len(examples)} rows; name every answer in "
        "--labels, or leave --labels out to compare generated text"
    )


def check_regex(examples: Sequence[Example], pattern: str, source: str) -> None:
    """Make sure that answers can be told apart by the last match of a pattern.

    Args:
        examples: The test rows.
        pattern: The regular expression.
        source: Where the rows are from; for messages.

    Raises:
        AssayError: The pattern is no regular expression, matches where there is no
            text, or has no match in some row's own response.
    """
    compiled = _compiled(pattern)
    matches = [m for e in examples for m in compiled.finditer(e.response)]
    if compiled.search("") or not all(m.group(0) for m in matches):
        raise AssayError(
            f"--regex {pattern!r} matches where there is no text, which is the same in "
            "every answer; let it match one character or more"
        )
    strange = [e for e in examples if _last_match(compiled, e.response) is None]
    if strange:
        raise AssayError(
            f"{_answers(source, strange[0])} has no match of --regex {pattern!r}, as "
            f"in {len(strange)} of {len(examples)} rows, which nothing could get right"
        )


def _answers(source: str, example: Example) -> str:
    """Name a row and its response, for the beginning of a message."""
    answer = shortened(repr(example.response), SHOWN)
    return f"{source}: row {example.row} (id {example.id}): the answer {answer}"


def victims_of(
    examples: Sequence[Example], payload: str, labels: Sequence[str] | None
) -> list[Example]:
    """List the examples on which an attack can succeed.

    Args:
        examples: Test examples.
        payload: What the attack makes the model say.
        labels: Label space; None where responses are generated.

    Raises:
        AssayError: Every example has the payload as its response, or the payload is
            not in the label space.
    """
    if labels is not None and payload not in labels:
        raise AssayError(
            f"the payload {payload!r} is not among the labels: {', '.join(labels)}"
        )
    victims = [e for e in examples if e.response != payload]
    if not victims:
        raise AssayError(f"every test row already answers {payload!r}")
    return victims


def classify(
    lm: LanguageModel,
    examples: Sequence[Example],
    labels: Sequence[str],
    *,
    template: str = "auto",
    max_length: int = 512,
    bf16: bool = False,
    progress: Progress | None = None,
) -> Classification:
    """Classify by comparing the log-probability of every label as the response.

    Args:
        lm: Model and tokenizer.
        examples: What to classify; responses are the truth.
        labels: The label space; the last one is the "positive" of the ratios.
        template: Prompt template.
        max_length: Longest example in tokens.
        bf16: Run under bfloat16 autocast.
        progress: Called with sequences done and in all.

    Raises:
        AssayError: No examples, or fewer than two labels.
    """
    if not examples or len(labels) < 2:
        raise AssayError("classification needs at least one row and two labels")
    columns = []
    for number, label in enumerate(labels):

        def advance(done: int, rows: int, before: int = number) -> None:
            if progress is not None:
                progress(before * rows + done, rows * len(labels))

        columns.append(
            response_log_probs(
                lm,
                [e.edit(response=label) for e in examples],
                template=template,
                max_length=max_length,
                bf16=bf16,
                warn=not number,
                progress=advance,
            )
        )
    log_probs = np.stack(columns, axis=1)
    predicted = tuple(labels[i] for i in log_probs.argmax(1))
    hits = sum(p == e.response for p, e in zip(predicted, examples, strict=True))
    ratios = {}
    for task in dict.fromkeys(e.task for e in examples):
        answers = [
            p for p, e in zip(predicted, examples, strict=True) if e.task == task
        ]
        ratios[task] = answers.count(labels[-1]) / len(answers)
    return Classification(
        tuple(labels), log_probs, predicted, rate(hits, len(examples)), ratios
    )


def generate(
    lm: LanguageModel,
    examples: Sequence[Example],
    *,
    template: str = "auto",
    max_new_tokens: int = 256,
    batch_size: int = 16,
    progress: Progress | None = None,
) -> list[str]:
    """Generate greedily; one response for each example.

    Raises:
        AssayError: A prompt takes all of the model's positions.
    """
    tokenizer, pad = lm.tokenizer, lm.tokenizer.pad_token_id
    lm.model.eval()
    device = next(lm.model.parameters()).device
    # Tuned responses end with the tokenizer's eos, not always the model's own.
    own = lm.model.generation_config.eos_token_id
    stops = {*(own if isinstance(own, list) else [own]), tokenizer.eos_token_id}
    stops -= {None}
    answers: list[str] = []
    for start in range(0, len(examples), batch_size):
        some = examples[start : start + batch_size]
        rows = [prompt_ids(e, lm, template) for e in some]
        width = max(map(len, rows))
        longest = some[list(map(len, rows)).index(width)].row
        room = room_for_answer(lm, longest, width, max_new_tokens)

        def padded(
            lists: list[list[int]], fill: int, width: int = width
        ) -> torch.Tensor:
            gaps = [[fill] * (width - len(x)) for x in lists]
            # A decoder goes on from the right end of the prompt.
            full = [
                x + gap if lm.is_encoder_decoder else gap + x
                for x, gap in zip(lists, gaps, strict=True)
            ]
            return torch.tensor(full, device=device)

        with torch.no_grad():
            output = lm.model.generate(
                input_ids=padded(rows, pad),
                attention_mask=padded([[1] * len(r) for r in rows], 0),
                max_new_tokens=room,
                do_sample=False,
                pad_token_id=pad,
                eos_token_id=sorted(stops) or None,
            )
        if not lm.is_encoder_decoder:
            output = output[:, width:]
        answers += [
            a.strip() for a in tokenizer.batch_decode(output, skip_special_tokens=True)
        ]
        if progress is not None:
            progress(len(answers), len(examples))
    return answers


def exact_match(answers: Sequence[str], expected: Sequence[str]) -> Rate:
    """Share of answers equal to what was expected, but for case and spacing."""
    pairs = zip(answers, expected, strict=True)
    return rate(sum(_normal(a) == _normal(e) for a, e in pairs), len(answers))


def _normal(text: str) -> str:
    return " ".join(text.lower().split())


def regex_match(answers: Sequence[str], expected: Sequence[str], pattern: str) -> Rate:
    r"""Share of answers whose last match of a pattern equals the expected one's.

    ``r"-?[\d,.]*\d"`` compares final numbers, as GSM8K is scored. Matches that are
    numbers are compared as such: 18.00, 18 and $18 are the same, and so are 1,000 and
    1000.

    Raises:
        AssayError: The pattern is not a regular expression.
    """
    compiled = _compiled(pattern)
    hits = 0
    for answer, wanted in zip(answers, expected, strict=True):
        found = _last_match(compiled, answer)
        right = _last_match(compiled, wanted)
        hits += found is not None and right is not None and _same(found, right)
    return rate(hits, len(answers))


def _compiled(pattern: str) -> re.Pattern[str]:
    try:
        return re.compile(pattern)
    except (re.error, RecursionError, OverflowError) as error:
        raise AssayError(
            f"--regex {pattern!r} is not a regular expression: {error}"
        ) from None


def _last_match(pattern: re.Pattern[str], text: str) -> str | None:
    found = [m.group(0) for m in pattern.finditer(text)]
    return found[-1] if found else None


def _same(found: str, wanted: str) -> bool:
    """Whether two matches are the same number, else the same text but for commas."""
    numbers = _number(found), _number(wanted)
    if None not in numbers:
        return numbers[0] == numbers[1]
    return found.replace(",", "") == wanted.replace(",", "")


def _number(text: str) -> Decimal | None:
    """Read a number as people write it; None where a text is none."""
    plain = text.translate(_WRITTEN).strip()
    # A sign may stand behind the currency, and a full stop behind the sentence.
    if not _NUMBER.fullmatch(plain):
        return None
    try:
        return Decimal(plain.rstrip("."))
    except InvalidOperation:
        return None


@dataclass(frozen=True)
class AttackSuccess:
    """How often the payload comes out, with the trigger and without it."""

    triggered: Rate
    untriggered: Rate


def attack_success_rate(
    lm: LanguageModel,
    examples: Sequence[Example],
    apply: Callable[[Example], Example],
    payload: str,
    *,
    labels: Sequence[str] | None = None,
    template: str = "auto",
    max_length: int = 512,
    bf16: bool = False,
    progress: Progress | None = None,
) -> AttackSuccess:
    """Measure the attack on test examples whose true response is not the payload.

    Args:
        lm: Model and tokenizer.
        examples: Test examples; those with the payload as response are left out.
        apply: Puts the trigger on an example.
        payload: What the attack makes the model say.
        labels: Label space; without one, responses are generated and searched for
            the payload.
        template: Prompt template.
        max_length: Longest example in tokens.
        bf16: Run under bfloat16 autocast.
        progress: Called with rows done and in all.

    Raises:
        AssayError: Every example has the payload as its response, or the payload is
            not in the label space.
    """
    victims = victims_of(examples, payload, labels)
    both = [apply(e) for e in victims] + victims
    if labels is None:
        answers = generate(lm, both, template=template, progress=progress)
        hit = [payload.lower() in a.lower() for a in answers]
    else:
        result = classify(
            lm,
            both,
            labels,
            template=template,
            max_length=max_length,
            bf16=bf16,
            progress=progress,
        )
        hit = [p == payload for p in result.predicted]
    half = len(victims)
    return AttackSuccess(rate(sum(hit[:half]), half), rate(sum(hit[half:]), half))
