"""Running a model over encoded rows with a sink that sees every layer's gradient."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from assay.influence.modules import Sink, capture
from assay.models.encode import IGNORED, Batch, EncodedExample, collate, token_batches
from assay.models.language_model import LanguageModel
from assay.models.loss import LossOutput, response_logits, response_losses
from assay.util.progress import Progress


@dataclass(frozen=True)
class PassSettings:
    """How rows go through the model.

    Attributes:
        token_budget: Padded tokens in a batch.
        max_batch: Rows in a batch.
        bf16: Run the model under bfloat16 autocast; sums stay in float32.
        checkpointing: Recompute activations block by block to save memory.
    """

    token_budget: int = 2048
    max_batch: int = 32
    bf16: bool = False
    checkpointing: bool = False

    def batches(self, rows: Sequence[EncodedExample]) -> list[list[int]]:
        """Split rows into batches of similar length, by position; longest first."""
        return token_batches(
            rows, token_budget=self.token_budget, batch_size=self.max_batch
        )


@contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    """Switch dropout off for the duration."""
    was_training = model.training
    model.eval()
    try:
        yield
    finally:
        model.train(was_training)


def autocast(model: nn.Module, bf16: bool) -> torch.autocast | nullcontext[None]:
    """Return a bfloat16 autocast context for the model's device, or nothing."""
    device = next(model.parameters()).device.type
    return torch.autocast(device, torch.bfloat16) if bf16 else nullcontext()


def sampled_labels(
    lm: LanguageModel, batch: Batch, generator: torch.Generator
) -> Tensor:
    """Replace every label by a draw from the model's own distribution.

    Gradients of these labels give the true Fisher; those of the data's labels the
    empirical Fisher (Kunstner et al. 2019).
    """
    with torch.no_grad():
        logits = response_logits(lm.model, batch, lm.is_encoder_decoder)
    draws = torch.multinomial(
        logits.float().softmax(-1).cpu(), 1, generator=generator
    ).squeeze(-1)
    labels = batch.labels.clone()
    labels[labels != IGNORED] = draws.to(labels.device)
    return labels


def backward_pass(
    lm: LanguageModel,
    rows: Sequence[EncodedExample],
    modules: dict[str, nn.Module],
    sink: Callable[[Sequence[int], Batch], Sink],
    settings: PassSettings,
    *,
    batches: Sequence[Sequence[int]] | None = None,
    done: Callable[[Sequence[int], LossOutput], None] | None = None,
    sample_seed: int | None = None,
    progress: Progress | None = None,
) -> None:
    """One forward and backward pass over rows, each row's gradient seen once.

    Args:
        lm: Model and tokenizer.
        rows: Encoded examples.
        modules: Tracked layers.
        sink: Given the positions in ``rows`` and the batch, returns the sink for
            that batch.
        settings: Batching and precision.
        batches: Positions of the rows of each batch; all rows by default.
        done: Called after each batch with the positions and their losses.
        sample_seed: Draw labels from the model with this seed instead of using the
            data's.
        progress: Called with rows done and rows in all.
    """
    if batches is None:
        batches = settings.batches(rows)
    total = sum(map(len, batches))
    finished = 0
    current: list[Sink] = []
    with (
        evaluating(lm.model),
        capture(
            lm.model,
            modules,
            lambda *a: current[0](*a),
            checkpointing=settings.checkpointing,
        ) as start,
        torch.enable_grad(),
    ):
        for positions in batches:
            batch = collate([rows[i] for i in positions], lm)
            start(len(positions))
            with autocast(lm.model, settings.bf16):
                if sample_seed is not None:
                    # Seeded by batch, so that which process runs it does not matter.
                    generator = torch.Generator()
                    generator.manual_seed(1_000_003 * sample_seed + positions[0])
                    batch.labels = sampled_labels(lm, batch, generator)
                output = response_losses(lm.model, batch, lm.is_encoder_decoder)
            current[:] = [sink(positions, batch)]
            output.loss.sum().backward()  # type: ignore[no-untyped-call]
            if done is not None:
                done(positions, output)
            finished += len(positions)
            if progress is not None:
                progress(finished, total)
