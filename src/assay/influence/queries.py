"""Gradients of the queries, preconditioned: averaged over a set, or each alone."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from assay.errors import AssayError
from assay.influence.contract import LowRank, low_rank
from assay.influence.ekfac import (
    LayerFactors,
    damped,
    example_gradients,
    precondition,
    rotate,
    rotates_tokens,
)
from assay.influence.factors import Factors
from assay.influence.modules import Sink, weight_shape
from assay.influence.passes import PassSettings, backward_pass
from assay.influence.sharding import ALONE, Shard
from assay.models.encode import Batch, EncodedExample
from assay.models.language_model import LanguageModel
from assay.util.progress import Progress

Queries = dict[str, Tensor]
LowRankQueries = dict[str, LowRank]


def _refuse_empty(query_sets: Mapping[str, Sequence[EncodedExample]]) -> None:
    for name, rows in query_sets.items():
        if not rows:
            raise AssayError(f"query set {name!r} is empty: no test input to score on")


def _onward(progress: Progress | None, start: int, total: int) -> Progress:
    """Progress of one set as that of all, where so many queries came before it."""

    def advance(done: int, _: int) -> None:
        if progress is not None:
            progress(start + done, total)

    return advance


def query_gradients(
    lm: LanguageModel,
    query_sets: Mapping[str, Sequence[EncodedExample]],
    modules: dict[str, nn.Module],
    settings: PassSettings,
    *,
    per_query: bool = False,
    into: Queries | None = None,
    shard: Shard = ALONE,
    progress: Progress | None = None,
) -> Queries:
    """Gradients of the query sets' losses, stacked over queries.

    Args:
        lm: Model and tokenizer.
        query_sets: Name to encoded queries.
        modules: Tracked layers.
        settings: Batching and precision.
        per_query: Keep every query apart; otherwise each set is averaged.
        into: Tensors of the result's shapes to overwrite and return.
        shard: This process's share of the queries.
        progress: Called with queries done and queries in all.

    Returns:
        Layer name to ``(K, out, in)``; K is the number of sets, or of queries in
        the order of the sets.

    Raises:
        AssayError: A query set is empty.
    """
    _refuse_empty(query_sets)
    total = sum(map(len, query_sets.values()))
    kept = total if per_query else len(query_sets)
    device = next(lm.model.parameters()).device
    gradients = into or {
        n: torch.empty(kept, *weight_shape(m), device=device)
        for n, m in modules.items()
    }
    for gradient in gradients.values():
        gradient.zero_()
    offset = 0
    for index, rows in enumerate(query_sets.values()):

        def sink_for(
            positions: Sequence[int],
            _: Batch,
            start: int = offset,
            index: int = index,
            size: int = len(rows),
        ) -> Sink:
            def sink(name: str, x: Tensor, g: Tensor) -> None:
                if per_query:
                    places = torch.tensor(positions, device=device) + start
                    gradients[name][places] = example_gradients(x, g).float()
                else:
                    summed = g.flatten(0, 1).T @ x.flatten(0, 1)
                    gradients[name][index].add_(summed, alpha=1 / size)

            return sink

        backward_pass(
            lm,
            rows,
            modules,
            sink_for,
            settings,
            batches=shard.mine(settings.batches(rows)),
            progress=_onward(progress, offset, total),
        )
        offset += len(rows)
    for total_gradient in gradients.values():
        shard.sum(total_gradient)
    return gradients


def averaged_queries(
    lm: LanguageModel,
    query_sets: Mapping[str, Sequence[EncodedExample]],
    modules: dict[str, nn.Module],
    settings: PassSettings,
    curvature: Callable[[Queries], object],
    *,
    shard: Shard = ALONE,
    progress: Progress | None = None,
) -> Queries:
    """Preconditioned gradients of the query sets, one set in the making at a time.

    Under bfloat16 the finished ones are kept in it, so that sets take half the memory
    from the start.

    Args:
        lm: Model and tokenizer.
        query_sets: Name to encoded queries.
        modules: Tracked layers.
        settings: Batching and precision.
        curvature: Multiplies gradients, ``(1, out, in)`` each, by its inverse in
            place.
        shard: This process's share of the queries.
        progress: Called with queries done and queries in all.

    Returns:
        Layer name to ``(K, out, in)``, K the number of sets.

    Raises:
        AssayError: A query set is empty.
    """
    _refuse_empty(query_sets)
    total = sum(map(len, query_sets.values()))
    device = next(lm.model.parameters()).device
    kept = {
        n: torch.empty(
            len(query_sets),
            *weight_shape(m),
            device=device,
            dtype=torch.bfloat16 if settings.bf16 else torch.float32,
        )
        for n, m in modules.items()
    }
    offset = 0
    # Hundreds of tensors that come and go a set would leave the heap in pieces.
    making: Queries | None = None
    for place, (name, rows) in enumerate(query_sets.items()):
        making = query_gradients(
            lm,
            {name: rows},
            modules,
            settings,
            into=making,
            shard=shard,
            progress=_onward(progress, offset, total),
        )
        curvature(making)
        for layer, gradient in making.items():
            kept[layer][place] = gradient[0]
        offset += len(rows)
    return kept


def low_rank_queries(
    lm: LanguageModel,
    query_sets: Mapping[str, Sequence[EncodedExample]],
    modules: dict[str, nn.Module],
    factors: Factors,
    settings: PassSettings,
    *,
    rank: int = 8,
    damping: float = 0.1,
    seed: int = 0,
    progress: Progress | None = None,
) -> tuple[LowRankQueries, NDArray[np.float32]]:
    """Precondition every query's own gradient and keep it in rank r.

    The gradient of a query is formed, divided by the damped eigenvalues and cut to
    rank r in the eigenbasis, one layer of one batch at a time; only the factors are
    rotated back. So hundreds of queries take ``K · r · (out + in)`` numbers a layer
    and never ``K · out · in`` (Grosse et al. 2023, section 3.2.2).

    Args:
        lm: Model and tokenizer.
        query_sets: Name to encoded queries.
        modules: Tracked layers.
        factors: Their curvature.
        settings: Batching and precision.
        rank: r.
        damping: Damping relative to a layer's mean eigenvalue.
        seed: Seed of the range finder's test matrices.
        progress: Called with queries done and queries in all.

    Returns:
        Layer name to the factors of all queries in the order of the sets, and what
        was lost: each query's error norm relative to the norm of its preconditioned
        gradient, ``(K,)``.

    Raises:
        AssayError: A query set is empty.
    """
    _refuse_empty(query_sets)
    rows = [row for queries in query_sets.values() for row in queries]
    device = next(lm.model.parameters()).device
    found: LowRankQueries = {}
    norms = torch.zeros(2, len(rows), dtype=torch.float64)
    for name, module in modules.items():
        out, inner = weight_shape(module)
        kept = min(rank, out, inner)
        found[name] = LowRank(
            torch.zeros(len(rows), out, kept, device=device),
            torch.zeros(len(rows), inner, kept, device=device),
        )

    def sink_for(positions: Sequence[int], _: Batch) -> Sink:
        places = list(positions)

        def sink(name: str, x: Tensor, g: Tensor) -> None:
            layer = factors[name]
            gradients = scaled_gradients(x.float(), g.float(), layer, damping)
            generator = torch.Generator().manual_seed(seed)
            cut = low_rank(gradients, rank, generator)
            norms[0, places] += gradients.square().sum((1, 2)).double().cpu()
            norms[1, places] += cut.right.square().sum((1, 2)).double().cpu()
            found[name].left[places] = layer.basis_out @ cut.left
            found[name].right[places] = layer.basis_in @ cut.right

        return sink

    backward_pass(lm, rows, modules, sink_for, settings, progress=progress)
    lost = (norms[0] - norms[1]).clamp_min(0) / norms[0].clamp_min(1e-300)
    return found, lost.sqrt().float().numpy()


def scaled_gradients(
    x: Tensor, g: Tensor, layer: LayerFactors, damping: float
) -> Tensor:
    """Per-example gradients in the eigenbasis, divided by the damped eigenvalues."""
    if rotates_tokens(x.shape[1], g.shape[2], x.shape[2]):
        gradients = example_gradients(x @ layer.basis_in, g @ layer.basis_out)
    else:
        gradients = rotate(example_gradients(x, g), layer)
    return gradients / damped(layer.eigenvalues, damping)


def precondition_queries(
    queries: Queries, factors: Factors, *, damping: float = 0.1
) -> Queries:
    """Apply the inverse curvature to every layer's query gradients, in place."""
    for name in queries:
        queries[name] = precondition(queries[name], factors[name], damping=damping)
    return queries
