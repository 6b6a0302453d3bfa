"""Response losses, with logits computed at labelled positions only."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from assay.models.encode import IGNORED, Batch

SCALED = ("t5", "longt5", "umt5", "switch_transformers")


@dataclass
class LossOutput:
    """Per-example losses.

    Attributes:
        loss: Summed negative log-likelihood of the response, ``(B,)``.
        tokens: Response tokens, ``(B,)``.
        hidden: Last hidden state that predicts the response's first token, ``(B, d)``.
    """

    loss: Tensor
    tokens: Tensor
    hidden: Tensor


def _states(
    model: Any, batch: Batch, is_encoder_decoder: bool
) -> tuple[Tensor, Tensor]:
    """Return last hidden states ``(B, T, d)`` and the labels they predict."""
    base = model.get_base_model() if hasattr(model, "get_base_model") else model
    if is_encoder_decoder:
        decoder_inputs = base.prepare_decoder_input_ids_from_labels(batch.labels)
        encoded = base.get_encoder()(
            input_ids=batch.input_ids, attention_mask=batch.attention_mask
        ).last_hidden_state
        states = base.get_decoder()(
            input_ids=decoder_inputs,
            encoder_hidden_states=encoded,
            encoder_attention_mask=batch.attention_mask,
            use_cache=False,
        ).last_hidden_state
        return states, batch.labels
    states = base.base_model(
        input_ids=batch.input_ids, attention_mask=batch.attention_mask, use_cache=False
    ).last_hidden_state
    return states[:, :-1], batch.labels[:, 1:]


def _project(model: Any, states: Tensor) -> Tensor:
    """Apply the output embedding, scaled and capped as the model does it."""
    base = model.get_base_model() if hasattr(model, "get_base_model") else model
    config = base.config
    # T5 scales its outputs, T5 1.1 does not; transformers 4 can tell them only by
    # the tying of the weights, transformers 5 ties all and has a setting instead.
    scaled = config.model_type in SCALED and config.tie_word_embeddings
    if getattr(config, "scale_decoder_outputs", scaled):
        states = states * config.d_model**-0.5
    logits: Tensor = base.get_output_embeddings()(states)
    cap = getattr(config, "final_logit_softcapping", None)
    if cap:
        logits = torch.tanh(logits / cap) * cap
    return logits


def labelled_states(
    model: Any, batch: Batch, is_encoder_decoder: bool
) -> tuple[Tensor, Tensor]:
    """Last hidden states at the labelled positions, row by row, and their logits."""
    states, targets = _states(model, batch, is_encoder_decoder)
    states = states[targets != IGNORED]
    return states, _project(model, states)


def response_logits(model: Any, batch: Batch, is_encoder_decoder: bool) -> Tensor:
    """Logits at the labelled positions, row by row: ``(labels, vocabulary)``."""
    return labelled_states(model, batch, is_encoder_decoder)[1]


def projects_exactly(model: Any, is_encoder_decoder: bool) -> bool:
    """Whether `response_logits` gives the model's own logits.

    Some families scale or shift their logits in ways not known here, which would
    give wrong losses without any sign.
    """
    ids = torch.tensor([[0, 1, 2]], device=model.get_input_embeddings().weight.device)
    mask = torch.ones_like(ids)
    with torch.no_grad():
        ours = response_logits(model, Batch(ids, mask, ids), is_encoder_decoder)
        theirs = model(input_ids=ids, attention_mask=mask, labels=ids).logits[0]
    if not is_encoder_decoder:
        theirs = theirs[:-1]
    off = float((ours.float() - theirs.float()).abs().max())
    return off <= 0.02 * float(theirs.abs().max())


def response_losses(model: Any, batch: Batch, is_encoder_decoder: bool) -> LossOutput:
    """Summed response loss of every example; differentiable.

    Args:
        model: Causal or encoder-decoder model, PEFT-wrapped or not.
        batch: From `collate`.
        is_encoder_decoder: Which of the two.
    """
    states, targets = _states(model, batch, is_encoder_decoder)
    labelled = targets != IGNORED
    logits = _project(model, states[labelled]).float()
    losses = F.cross_entropy(logits, targets[labelled], reduction="none")
    row = labelled.nonzero()[:, 0]
    total = losses.new_zeros(len(targets)).index_add(0, row, losses)
    first = labelled.int().argmax(dim=1)
    hidden = states[torch.arange(len(states), device=states.device), first]
    return LossOutput(total, labelled.sum(1), hidden)
