"""Fitting EK-FAC factors: one pass for covariances, one for eigenvalues."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from assay.errors import AssayError
from assay.influence.ekfac import (
    LayerFactors,
    eigenbasis,
    example_gradients,
)
from assay.influence.modules import Sink, weight_shape
from assay.influence.passes import PassSettings, backward_pass
from assay.models.encode import IGNORED, Batch, EncodedExample
from assay.models.load import LanguageModel
from assay.models.log_probs import Progress

Factors = dict[str, LayerFactors]


def token_mask(batch: Batch, length: int) -> Tensor:
    """Return the ``(B, T)`` mask of real tokens for a layer that sees ``length``.

    In an encoder-decoder some layers see the source and some the target; collation
    keeps the two lengths different so that the length tells them apart.
    """
    if batch.attention_mask.shape[1] == length:
        return batch.attention_mask.bool()
    return batch.labels != IGNORED


def fit_factors(
    lm: LanguageModel,
    rows: Sequence[EncodedExample],
    modules: dict[str, nn.Module],
    settings: PassSettings,
    *,
    sampled: bool = False,
    seed: int = 0,
    progress: Progress | None = None,
) -> Factors:
    """Fit EK-FAC factors on rows.

    Args:
        lm: Model and tokenizer.
        rows: Encoded examples the curvature is estimated on.
        modules: Tracked layers.
        settings: Batching and precision.
        sampled: Sample labels from the model (true Fisher) instead of using the
            data's (empirical Fisher).
        seed: Seed of the sampled labels; both passes draw the same ones.
        progress: Called with rows and layers done, and with all there are in both
            passes and the eigendecompositions.

    Returns:
        Layer name to factors, in float32.

    Raises:
        AssayError: A covariance is not finite, or the rows are empty.
    """
    if not rows:
        raise AssayError("no rows to fit the curvature on")
    total = 2 * len(rows) + len(modules)

    def advance(before: int) -> Progress:
        def report(done: int, _: int) -> None:
            if progress is not None:
                progress(before + done, total)

        return report

    sample_seed = seed if sampled else None
    device = next(lm.model.parameters()).device
    inputs: dict[str, Tensor] = {}
    outputs: dict[str, Tensor] = {}
    counts = dict.fromkeys(modules, 0)
    for name, module in modules.items():
        out, inner = weight_shape(module)
        inputs[name] = torch.zeros(inner, inner, device=device)
        outputs[name] = torch.zeros(out, out, device=device)

    def covariances(_: Sequence[int], batch: Batch) -> Sink:
        def sink(name: str, x: Tensor, g: Tensor) -> None:
            mask = token_mask(batch, x.shape[1])
            x, g = x[mask], g[mask]
            inputs[name] += x.T @ x
            outputs[name] += g.T @ g
            counts[name] += len(x)

        return sink

    backward_pass(
        lm,
        rows,
        modules,
        covariances,
        settings,
        sample_seed=sample_seed,
        progress=advance(0),
    )

    bases: dict[str, tuple[Tensor, Tensor]] = {}
    decomposed = advance(len(rows))
    for done, name in enumerate(modules, start=1):
        # Popped one by one: a covariance and its basis are never both held for all.
        count = max(counts[name], 1)
        bases[name] = (
            eigenbasis(inputs.pop(name) / count, f"the input of {name}"),
            eigenbasis(outputs.pop(name) / count, f"the output gradient of {name}"),
        )
        decomposed(done, len(modules))

    eigenvalues = {
        n: torch.zeros(weight_shape(m), device=device) for n, m in modules.items()
    }

    def corrections(_: Sequence[int], __: Batch) -> Sink:
        def sink(name: str, x: Tensor, g: Tensor) -> None:
            basis_in, basis_out = bases[name]
            x, g = x @ basis_in.to(x.dtype), g @ basis_out.to(g.dtype)
            gradients = example_gradients(x, g).float()
            eigenvalues[name] += gradients.square_().sum(0)

        return sink

    backward_pass(
        lm,
        rows,
        modules,
        corrections,
        settings,
        sample_seed=sample_seed,
        progress=advance(len(rows) + len(modules)),
    )
    return {
        name: LayerFactors(*bases[name], eigenvalues[name] / len(rows))
        for name in modules
    }
