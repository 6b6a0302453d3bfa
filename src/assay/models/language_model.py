"""What the rest of the code takes for a model."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any


@dataclass
class LanguageModel:
    """A model with its tokenizer.

    Attributes:
        model: The Hugging Face (or PEFT) model.
        tokenizer: Its tokenizer; always has a pad token.
        name: What the user called it.
        is_encoder_decoder: Whether prompts go to an encoder.
        positions: How many tokens it takes, once `assay.models.positions` found out.
    """

    model: Any
    tokenizer: Any
    name: str
    is_encoder_decoder: bool
    positions: Any = field(default=None, repr=False, compare=False)
