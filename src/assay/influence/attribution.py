"""Ways to attribute a query's loss to training rows.

All but one are an inner product of a row's gradient with a transformed query gradient;
they differ in the transformation alone, so they share the pass over the rows.

============  ==============================================================
ekfac         ``H`` by EK-FAC (Grosse et al. 2023); the default
identity      ``H = I``: the plain gradient product of TracIn (Pruthi et al. 2020)
diagonal      ``H``: the diagonal of the empirical Fisher
datainf       ``H^-1`` by swapping inverse and mean (Kwon et al. 2024); for LoRA
repsim        no gradient: cosine of hidden states (Hanawa et al. 2021)
============  ==============================================================
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from assay.errors import AssayError
from assay.influence.contract import contract, gradient_blocks
from assay.influence.ekfac import damped
from assay.influence.factors import Factors, fit_eigenvalues, fit_factors
from assay.influence.modules import Sink
from assay.influence.passes import PassSettings, autocast, backward_pass, evaluating
from assay.influence.queries import Queries, precondition_queries
from assay.influence.sharding import ALONE, Shard
from assay.models.encode import Batch, EncodedExample, collate
from assay.models.language_model import LanguageModel
from assay.models.loss import response_losses
from assay.util.progress import Progress

METHODS = ("ekfac", "identity", "diagonal", "datainf", "repsim")


def check_name(method: str) -> None:
    """Refuse a method that is not known.

    Raises:
        AssayError: There is none of this name.
    """
    if method not in METHODS:
        raise AssayError(
            f"unknown --attribution {method!r}; known: {', '.join(METHODS)}"
        )


def check_method(method: str, model: nn.Module) -> None:
    """Refuse what is not known, or not for this model.

    Raises:
        AssayError: There is no such method, or it is for LoRA models only.
    """
    check_name(method)
    if method == "datainf" and not hasattr(model, "peft_config"):
        raise AssayError(
            "--attribution datainf is for LoRA models: its error grows with the "
            "number of weights of a layer; use ekfac"
        )


def apply_curvature(
    method: str,
    lm: LanguageModel,
    rows: Sequence[EncodedExample],
    modules: dict[str, nn.Module],
    queries: Queries,
    settings: PassSettings,
    *,
    damping: float = 0.1,
    factors: Callable[[], Factors | None] | None = None,
    shard: Shard = ALONE,
    progress: Progress | None = None,
) -> Queries:
    """Turn query gradients into what row gradients are multiplied with.

    Args:
        method: One of `METHODS` except ``repsim``.
        lm: Model and tokenizer.
        rows: Encoded examples the curvature is estimated on.
        modules: Tracked layers.
        queries: Query gradients, ``(K, out, in)`` each; changed in place.
        settings: Batching and precision.
        damping: Damping relative to the layer's mean curvature.
        factors: Gives EK-FAC factors fitted before, on the main process at least;
            they are fitted by default.
        shard: This process's share of the rows.
        progress: Called with steps done and steps in all.

    Raises:
        AssayError: The method is unknown or not for this model.
    """
    check_method(method, lm.model)
    if method == "identity":
        return queries
    if method == "datainf":
        return _datainf(lm, rows, modules, queries, settings, damping, shard, progress)
    if method == "diagonal":
        squares = fit_eigenvalues(
            lm, rows, modules, settings, None, shard=shard, progress=progress
        )
        for name, square in squares.items():
            queries[name] /= damped(square, damping)
        return queries
    fitted = (
        factors()
        if factors
        else fit_factors(lm, rows, modules, settings, shard=shard, progress=progress)
    )
    if fitted is not None and shard.is_main:
        precondition_queries(queries, fitted, damping=damping)
    for name in queries:
        shard.broadcast(queries[name])
    return queries


def _datainf(
    lm: LanguageModel,
    rows: Sequence[EncodedExample],
    modules: dict[str, nn.Module],
    queries: Queries,
    settings: PassSettings,
    damping: float,
    shard: Shard,
    progress: Progress | None,
) -> Queries:
    """Apply DataInf's inverse to query gradients.

    ``H^-1 v ≈ (1 / (n λ)) Σ_i (v − g_i (g_i·v) / (λ + |g_i|²))`` with ``λ = damping``
    times the mean squared entry of a row's gradient (Kwon et al. 2024, equation 5).
    """
    batches = shard.mine(settings.batches(rows))
    device = next(lm.model.parameters()).device
    norms = {n: torch.zeros(len(rows), device=device) for n in modules}
    sums = {n: torch.zeros_like(q) for n, q in queries.items()}

    def measuring(positions: Sequence[int], _: Batch) -> Sink:
        places = list(positions)

        def sink(name: str, x: Tensor, g: Tensor) -> None:
            for _part, block in gradient_blocks(x, g):
                norms[name][places] += block.square_().sum((1, 2), dtype=torch.float32)

        return sink

    def summing(positions: Sequence[int], _: Batch) -> Sink:
        places = list(positions)

        def sink(name: str, x: Tensor, g: Tensor) -> None:
            along = contract(x, g, queries[name].to(x.dtype)).to(x.dtype)
            weights = along / (shifts[name] + norms[name][places])
            for k, weight in enumerate(weights.to(x.dtype)):
                weighted = g * weight[:, None, None]
                sums[name][k] += weighted.flatten(0, 1).T @ x.flatten(0, 1)

        return sink

    def half(offset: int) -> Progress | None:
        if progress is None:
            return None
        return lambda done, total: progress(offset * total + done, 2 * total)

    for index, sink_for in enumerate((measuring, summing)):
        backward_pass(
            lm,
            rows,
            modules,
            sink_for,
            settings,
            batches=batches,
            progress=half(index),
        )
        if index == 0:
            shifts = {
                n: (damping * shard.sum(v).mean() / queries[n][0].numel()).clamp_min(
                    1e-30
                )
                for n, v in norms.items()
            }
    for name, query in queries.items():
        query.sub_(shard.sum(sums[name]) / len(rows)).div_(shifts[name])
    return queries


def query_states(
    lm: LanguageModel,
    query_sets: Mapping[str, Sequence[EncodedExample]],
    settings: PassSettings,
) -> NDArray[np.float32]:
    """Mean unit hidden state of each query set, ``(K, d)``, for `repsim_scores`."""
    means = []
    with torch.no_grad(), evaluating(lm.model), autocast(lm.model, settings.bf16):
        for rows in query_sets.values():
            states = []
            for positions in settings.batches(rows):
                batch = collate([rows[i] for i in positions], lm)
                output = response_losses(lm.model, batch, lm.is_encoder_decoder)
                states.append(
                    torch.nn.functional.normalize(output.hidden.float(), dim=1)
                )
            means.append(torch.cat(states).mean(0).cpu().numpy())
    return np.stack(means)


def repsim_scores(
    hidden: NDArray[np.float32], states: NDArray[np.float32], block: int = 4096
) -> NDArray[np.float32]:
    """Mean cosine of each row's hidden state with each query set's, ``(N, K)``.

    Args:
        hidden: ``(N, d)``, possibly memory-mapped.
        states: From `query_states`, ``(K, d)``.
        block: Rows held at a time.
    """
    scores = np.empty((len(hidden), len(states)), np.float32)
    for first in range(0, len(hidden), block):
        rows = np.asarray(hidden[first : first + block], np.float32)
        norms = np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-12)
        scores[first : first + block] = rows / norms @ states.T
    return scores
