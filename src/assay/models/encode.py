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
from assay.models.load import LanguageModel
from assay.models.templates import render_prompt

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
    ids = _tokens(render_prompt(example, tokenizer, template), tokenizer)
    if lm.is_encoder_decoder:
        ids += _eos(tokenizer)
    if ids:
        return ids
    bos = tokenizer.bos_token_id
    return [tokenizer.pad_token_id if bos is None else bos]


def _eos(tokenizer: Any) -> list[int]:
    return [] if tokenizer.eos_token_id is None else [tokenizer.eos_token_id]


def _tokens(text: str, tokenizer: Any) -> list[int]:
    # JSON can hold half a surrogate pair, which tokenizers refuse.
    text = text.encode("utf-8", "replace").decode()
    return list(tokenizer(text, add_special_tokens=False)["input_ids"])


def encode(
    examples: Sequence[Example],
    lm: LanguageModel,
    *,
    template: str = "auto",
    max_length: int = 512,
) -> Encoded:
    """Encode prompts and responses.

    Prompt and response are tokenised apart, so the boundary is exact. A prompt that
    is too long loses its beginning, so the response and the text's end stay.

    Raises:
        AssayError: No example fits into ``max_length`` untruncated.
    """
    encoded = []
    for example in examples:
        prompt = prompt_ids(example, lm, template)
        response = _tokens(example.response, lm.tokenizer) + _eos(lm.tokenizer)
        if lm.is_encoder_decoder:
            cut = len(prompt) > max_length or len(response) > max_length
            prompt, response = prompt[-max_length:], response[:max_length]
            encoded.append(EncodedExample(example.row, prompt, response, cut))
            continue
        # One prompt token must stay: the first response token is predicted from it.
        cut = len(prompt) + len(response) > max_length
        response = response[: max_length - 1]
        prompt = prompt[-(max_length - len(response)) :]
        encoded.append(
            EncodedExample(
                example.row,
                prompt + response,
                [IGNORED] * len(prompt) + response,
                cut,
            )
        )
    truncated = sum(e.truncated for e in encoded)
    if encoded and truncated == len(encoded):
        raise AssayError(
            f"all {len(encoded)} rows are longer than --max-length {max_length} "
            "tokens; raise it"
        )
    return Encoded(encoded, truncated)


def warn_truncated(encoded: Encoded, max_length: int) -> None:
    """Say how many rows had to be cut, if any."""
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
