"""Response losses, with logits computed at labelled positions only."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from assay.errors import AssayError
from assay.models.encode import IGNORED, Batch

SCALED = ("t5", "longt5", "umt5", "switch_transformers")
OWN_LOGITS = "assay_own_logits"


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
    base = _base(model)
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
    base = _base(model)
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


def use_own_logits(model: Any) -> None:
    """Take logits from the model's own forward pass from now on.

    For families that scale, shift or otherwise change their logits in ways not known
    here. Logits are worked out at all positions then, not at labelled ones alone.
    """
    # An attribute goes along with copies, and is not written with the weights.
    setattr(_base(model), OWN_LOGITS, True)


def uses_own_logits(model: Any) -> bool:
    """Whether logits come from the model's own forward pass."""
    return bool(getattr(_base(model), OWN_LOGITS, False))


def _base(model: Any) -> Any:
    return model.get_base_model() if hasattr(model, "get_base_model") else model


def _predict(
    model: Any, batch: Batch, is_encoder_decoder: bool
) -> tuple[Tensor, Tensor, Tensor]:
    """Run the model.

    Returns:
        Last hidden states ``(B, T, d)``, the labels that they predict ``(B, T)``, and
        logits at the labelled positions, row by row.
    """
    if not uses_own_logits(model):
        states, targets = _states(model, batch, is_encoder_decoder)
        return states, targets, _project(model, states[targets != IGNORED])
    base = _base(model)
    inputs: list[Tensor] = []
    handle = base.get_output_embeddings().register_forward_pre_hook(
        lambda _, given: inputs.append(given[0])
    )
    # Given labels, an encoder-decoder shifts them into its decoder's inputs.
    labels = {"labels": batch.labels} if is_encoder_decoder else {}
    try:
        logits = base(
            input_ids=batch.input_ids,
            attention_mask=batch.attention_mask,
            use_cache=False,
            **labels,
        ).logits
    finally:
        handle.remove()
    states, targets = inputs[0], batch.labels
    if states.shape[:-1] != logits.shape[:-1] or states.dim() != 3:
        kind = base.config.model_type
        raise AssayError(
            f"{kind} is not supported: its output layer sees states of shape "
            f"{tuple(states.shape)} and gives {tuple(logits.shape)}, not one a token"
        )
    if not is_encoder_decoder:
        states, logits, targets = states[:, :-1], logits[:, :-1], targets[:, 1:]
    return states, targets, logits[targets != IGNORED]


def labelled_states(
    model: Any, batch: Batch, is_encoder_decoder: bool
) -> tuple[Tensor, Tensor]:
    """Last hidden states at the labelled positions, row by row, and their logits."""
    states, targets, logits = _predict(model, batch, is_encoder_decoder)
    return states[targets != IGNORED], logits


def response_logits(model: Any, batch: Batch, is_encoder_decoder: bool) -> Tensor:
    """Logits at the labelled positions, row by row: ``(labels, vocabulary)``."""
    return _predict(model, batch, is_encoder_decoder)[2]


def response_losses(model: Any, batch: Batch, is_encoder_decoder: bool) -> LossOutput:
    """Summed response loss of every example; differentiable.

    Args:
        model: Causal or encoder-decoder model, PEFT-wrapped or not.
        batch: From `collate`.
        is_encoder_decoder: Which of the two.
    """
    states, targets, logits = _predict(model, batch, is_encoder_decoder)
    labelled = targets != IGNORED
    losses = F.cross_entropy(logits.float(), targets[labelled], reduction="none")
    row = labelled.nonzero()[:, 0]
    total = losses.new_zeros(len(targets)).index_add(0, row, losses)
    first = labelled.int().argmax(dim=1)
    hidden = states[torch.arange(len(states), device=states.device), first]
    return LossOutput(total, labelled.sum(1), hidden)
