"""Adapters that are trained in place of a model's own weights."""

from __future__ import annotations

from assay.models.language_model import LanguageModel
from assay.models.load import quiet_libraries


def add_lora(lm: LanguageModel, rank: int) -> None:
    """Put LoRA adapters of a rank on every linear layer; those that are there stay."""
    if hasattr(lm.model, "peft_config"):
        return
    from peft import LoraConfig, get_peft_model

    with quiet_libraries():
        lm.model = get_peft_model(
            lm.model,
            LoraConfig(
                r=rank,
                lora_alpha=2 * rank,
                target_modules="all-linear",
            ),
        )
