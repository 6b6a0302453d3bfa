"""How a model is tuned: light to import, since the command line shows it."""

from __future__ import annotations

from dataclasses import dataclass

from assay.errors import AssayError
from assay.util.ranges import check_settings

# By the names that transformers gives them.
SCHEDULES = ("linear", "cosine", "constant", "constant_with_warmup")
OPTIMIZERS = ("adamw", "lion", "lion_8bit")


@dataclass(frozen=True)
class TuneSettings:
    """How a model is tuned.

    Numbers have to be in the ranges of `assay.util.ranges.RANGES`.

    Attributes:
        epochs: Passes over the data.
        learning_rate: Peak learning rate.
        batch_size: Rows in a forward pass.
        accumulation: Forward passes in an optimiser step.
        warmup: Share of the steps spent warming up linearly; ``constant`` has none.
        schedule: Learning rate after the warm-up: ``linear``, ``cosine``,
            ``constant`` or ``constant_with_warmup``.
        optimizer: Optimiser: ``adamw``, ``lion`` (needs ``assay[lion]``) or
            ``lion_8bit`` (needs ``assay[lion-8bit]``).
        weight_decay: Decoupled weight decay.
        clip: Largest norm of the gradient.
        lora_rank: Train LoRA adapters of this rank; 0 trains every weight.
        template: Prompt template: auto, chat, plain, alpaca or tk-instruct.
        max_length: Longest example in tokens.
        bf16: Run the model under bfloat16 autocast.
        gradient_checkpointing: Trade time for activation memory.
        checkpoint_every: Optimiser steps between checkpoints; 0 is every epoch.
        keep_checkpoints: Newest checkpoints to keep as model folders, beside the one to
            go on from; 0 keeps none.
        validation: Share of the rows that is held out, and whose loss is noted.
        evaluate_every: Optimiser steps between evaluations; 0 is every epoch.
        seed: Seed of order, dropout and adapter initialisation.
    """

    epochs: int = 4
    learning_rate: float = 5e-5
    batch_size: int = 8
    accumulation: int = 1
    warmup: float = 0.05
    schedule: str = "linear"
    optimizer: str = "adamw"
    weight_decay: float = 0.0
    clip: float = 1.0
    lora_rank: int = 0
    template: str = "auto"
    max_length: int = 512
    bf16: bool = False
    gradient_checkpointing: bool = False
    checkpoint_every: int = 0
    keep_checkpoints: int = 0
    validation: float = 0.0
    evaluate_every: int = 0
    seed: int = 0

    def __post_init__(self) -> None:
        """Check types, ranges and names.

        Raises:
            AssayError: A value is of the wrong type or outside of its range, or the
                schedule or the optimizer is unknown.
        """
        check_settings(self)
        for name, known in (("schedule", SCHEDULES), ("optimizer", OPTIMIZERS)):
            value = getattr(self, name)
            if value not in known:
                raise AssayError(f"unknown {name} {value!r}; known: {', '.join(known)}")
