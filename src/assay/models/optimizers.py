"""What takes the steps of a tuning run."""

from __future__ import annotations

import importlib.util
from typing import TYPE_CHECKING, Any

import torch

from assay.errors import AssayError

if TYPE_CHECKING:
    from assay.models.tune_settings import TuneSettings


def optimizer_for(
    parameters: list[Any], settings: TuneSettings
) -> torch.optim.Optimizer:
    """Make the optimizer that the settings name.

    Lion has its own defaults for its two averages, 0.9 and 0.99; the Trainer of
    transformers gives it those of Adam, 0.9 and 0.999.

    Raises:
        AssayError: The library of the optimizer is not installed.
    """
    options: dict[str, Any] = {
        "lr": settings.learning_rate,
        "weight_decay": settings.weight_decay,
    }
    if settings.optimizer == "adamw":
        # The unfused update passes over all weights ten times: on a CPU it takes
        # as long as the forward and backward pass of a small batch.
        return torch.optim.AdamW(parameters, fused=True, **options)
    if settings.optimizer == "lion_8bit":
        if importlib.util.find_spec("bitsandbytes") is None:
            raise AssayError(
                "--optimizer lion_8bit needs bitsandbytes: pip install "
                "'assay[lion-8bit]'; --optimizer lion takes the same steps in 32 bits"
            )
        from bitsandbytes.optim import Lion8bit

        small: torch.optim.Optimizer = Lion8bit(parameters, **options)
        return small
    if importlib.util.find_spec("lion_pytorch") is None:
        raise AssayError("--optimizer lion needs: pip install 'assay[lion]'")
    from lion_pytorch import Lion

    chosen: torch.optim.Optimizer = Lion(parameters, **options)
    return chosen
