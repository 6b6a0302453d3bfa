"""From examples to token ids with a label mask on the response."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from assay.data.corpus import Example
from assay.errors import AssayError
from assay.models.language_model import LanguageModel
from assay.models.special_tokens import begins_with_bos
from assay.models.templates import render_answer, render_prompt, template_name

log = logging.getLogger("assay")


IGNORED = -100


@dataclass(slots=True)
class EncodedExample:
    """Token ids of one example.

    Causal: ``labels`` is aligned with ``input_ids``, ignored on the prompt.
    Encoder-decoder: ``input_ids`` is the prompt, ``labels`` the response.
    """

    row: int
    input_ids: list[int]
    labels: list[int]
    truncated: bool


@dataclass
class Encoded:
    """Encoded examples and how many of them had to be cut."""

    examples: list[EncodedExample]
    truncated: int


@dataclass
class Batch:
    """Padded tensors, each ``(B, T)``."""

    input_ids: Tensor
    attention_mask: Tensor
    labels: Tensor


def prompt_ids(example: Example, lm: LanguageModel, template: str) -> list[int]:
    """Tokens of the prompt; at least one."""
    tokenizer = lm.tokenizer
    prompt = render_prompt(example, tokenizer, template)
    ids = _tokens(prompt, tokenizer)
    if lm.is_encoder_decoder:
        ids += _eos(tokenizer)
    bos = tokenizer.bos_token_id
    # Chat templates write their own beginning of a sequence.
    own = template_name(tokenizer, template) == "chat" and example.frame is None
    if not own and ids[:1] != [bos] and begins_with_bos(tokenizer):
        return [bos, *ids]
    if ids:
        return ids
    return [tokenizer.pad_token_id if bos is None else bos]


def _eos(tokenizer: Any) -> list[int]:
    return [] if tokenizer.eos_token_id is None else [tokenizer.eos_token_id]


def _tokens(text: str, tokenizer: Any) -> list[int]:
    # JSON can hold half a surrogate pair, which tokenizers refuse.
    text = text.encode("utf-8", "replace").decode()
    return list(tokenizer(text, add_special_tokens=False)["input_ids"])


def _answer_ids(example: Example, lm: LanguageModel, template: str) -> list[int]:
    answer = render_answer(example, lm.tokenizer, template)
    ids, end = _tokens(answer, lm.tokenizer), _eos(lm.tokenizer)
    # Formatted records may hold the end of the answer themselves.
    return ids if end and ids[-1:] == end else ids + end


def _whole_chat(
    answers: Sequence[Example], lm: LanguageModel, template: str
) -> tuple[list[int], list[int]] | None:
    """Encode all answers of a chat in one sequence.

    Returns:
        Token ids and labels, or None where a later prompt does not go on from an
        earlier one with its answer and end, as with templates that leave something out
        or end a turn by something else.
    """
    tokenizer = lm.tokenizer
    end = tokenizer.eos_token or ""
    ids: list[int] = []
    labels: list[int] = []
    seen = ""
    for example in answers:
        prompt = render_prompt(example, tokenizer, template)
        if not prompt.startswith(seen):
            return None
        # An answer's own end stands where the template ends its turn.
        new = _tokens(prompt[len(seen) :], tokenizer)
        if not ids:
            new = prompt_ids(example, lm, template)
        answer = _answer_ids(example, lm, template)
        ids += [*new, *answer]
        labels += [*([IGNORED] * len(new)), *answer]
        seen = prompt + render_answer(example, tokenizer, template) + end
    return ids, labels


def _encoded(
    example: Example, lm: LanguageModel, template: str, max_length: int
) -> EncodedExample:
    prompt = prompt_ids(example, lm, template)
    response = _answer_ids(example, lm, template)
    if lm.is_encoder_decoder:
        cut = len(prompt) > max_length or len(response) > max_length
        prompt, response = prompt[-max_length:], response[:max_length]
        return EncodedExample(example.row, prompt, response, cut)
    # One prompt token must stay: the first response token is predicted from it.
    cut = len(prompt) + len(response) > max_length
    response = response[: max_length - 1]
    prompt = prompt[-(max_length - len(response)) :]
    labels = [IGNORED] * len(prompt) + response
    return EncodedExample(example.row, prompt + response, labels, cut)


def encode(
    examples: Sequence[Example],
    lm: LanguageModel,
    *,
    template: str = "auto",
    max_length: int = 512,
    all_answers: bool = False,
) -> Encoded:
    """Encode prompts and responses.

    Prompt and response are tokenised apart, so the boundary is exact. A prompt that
    is too long loses its beginning, so the response and the text's end stay.

    Args:
        examples: The examples.
        lm: Supplies the tokenizer.
        template: Prompt template.
        max_length: Longest sequence in tokens.
        all_answers: Encode every answer of a chat that is trained on, as trainers do:
            in one sequence where it fits and the template allows it, else in one
            each. Otherwise the last answer alone.
    """
    encoded = []
    for example in examples:
        earlier = example.earlier_answers if all_answers else ()
        if earlier and not lm.is_encoder_decoder:
            whole = _whole_chat((*earlier, example), lm, template)
            if whole is not None and len(whole[0]) <= max_length:
                encoded.append(EncodedExample(example.row, *whole, truncated=False))
                continue
        encoded += [
            _encoded(answer, lm, template, max_length) for answer in (*earlier, example)
        ]
    return Encoded(encoded, sum(e.truncated for e in encoded))


def warn_truncated(encoded: Encoded, max_length: int) -> None:
    """Say how many rows had to be cut, if any.

    Raises:
        AssayError: All of them.
    """
    if encoded.examples and encoded.truncated == len(encoded.examples):
        raise AssayError(
            f"all {len(encoded.examples)} rows are longer than --max-length "
            f"{max_length} tokens; raise it"
        )
    if encoded.truncated:
        log.warning(
            "%d of %d rows are cut to %d tokens",
            encoded.truncated,
            len(encoded.examples),
            max_length,
        )


def token_batches(
    encoded: Sequence[EncodedExample], *, token_budget: int = 2048, batch_size: int = 32
) -> list[list[int]]:
    """Group positions of similar length, padded tokens bounded; longest first."""

    def size(i: int) -> int:
        return max(len(encoded[i].input_ids), len(encoded[i].labels))

    batches: list[list[int]] = []
    for i in sorted(range(len(encoded)), key=lambda i: (-size(i), i)):
        last = batches[-1] if batches else None
        if (
            last is None
            or len(last) == batch_size
            or (len(last) + 1) * size(last[0]) > token_budget
        ):
            batches.append([i])
        else:
            last.append(i)
    return batches


def collate(rows: Sequence[EncodedExample], lm: LanguageModel) -> Batch:
    """Pad rows on the right into tensors on the model's device."""
    width = max(len(r.input_ids) for r in rows)
    label_width = max(len(r.labels) for r in rows)
    if lm.is_encoder_decoder and label_width == width:
        # Layers of the encoder and the decoder are told apart by their length.
        label_width += 1
    pad = lm.tokenizer.pad_token_id
    device = lm.model.get_input_embeddings().weight.device

    def padded(lists: list[list[int]], fill: int, to: int) -> Tensor:
        return torch.tensor([x + [fill] * (to - len(x)) for x in lists], device=device)

    return Batch(
        padded([r.input_ids for r in rows], pad, width),
        padded([[1] * len(r.input_ids) for r in rows], 0, width),
        padded([r.labels for r in rows], IGNORED, label_width),
    )
