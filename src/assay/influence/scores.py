"""Scoring training rows: every query set, features and losses in one pass."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from assay.influence.contract import contract
from assay.influence.ekfac import example_gradients
from assay.influence.modules import Sink, weight_shape
from assay.influence.passes import PassSettings, backward_pass
from assay.influence.queries import LowRankQueries, Queries
from assay.influence.sharding import ALONE, Shard
from assay.influence.store import MemoryStore, RowStore
from assay.models.encode import Batch, EncodedExample
from assay.models.language_model import LanguageModel
from assay.models.loss import LossOutput
from assay.util.progress import Progress


@dataclass
class RowEvidence:
    """What one pass over the training rows yields.

    Attributes:
        scores: Influence of each row on each query, ``(N, K)``. Positive: a training
            step on the row lowers the query's loss.
        features: Projected per-example gradients, ``(N, layers · r · r)``.
        losses: Mean negative log-likelihood of a response token, ``(N,)``.
        hidden: Last hidden state where the response begins, ``(N, d)``.
    """

    scores: NDArray[np.float32]
    features: NDArray[np.float32]
    losses: NDArray[np.float32]
    hidden: NDArray[np.float32]


def projections(
    modules: dict[str, nn.Module], rank: int, seed: int
) -> dict[str, tuple[Tensor, Tensor]]:
    """Gaussian projections of each layer's input and output side.

    Drawn on the CPU from the seed and the layer's position, so they do not depend on
    the device or on what else is tracked before it.

    Returns:
        Layer name to ``(in, r)`` and ``(out, r)``, entries of variance ``1 / r``.
    """
    drawn = {}
    for index, (name, module) in enumerate(modules.items()):
        out, inner = weight_shape(module)
        generator = torch.Generator().manual_seed(seed * 100_003 + index)
        drawn[name] = (
            torch.randn(inner, rank, generator=generator) / rank**0.5,
            torch.randn(out, rank, generator=generator) / rank**0.5,
        )
    return drawn


def evidence_columns(
    lm: LanguageModel, modules: dict[str, nn.Module], queries: int, rank: int
) -> dict[str, int]:
    """Columns that `score_rows` fills for a row, by array."""
    head = lm.model.get_output_embeddings().weight
    return {
        "scores": queries,
        "losses": 1,
        "hidden": int(head.shape[1]),
        "features": len(modules) * rank * rank,
    }


def score_rows(
    lm: LanguageModel,
    rows: Sequence[EncodedExample],
    modules: dict[str, nn.Module],
    queries: Queries,
    settings: PassSettings,
    *,
    individual: LowRankQueries | None = None,
    rank: int = 16,
    seed: int = 0,
    store: RowStore | None = None,
    shard: Shard = ALONE,
    progress: Progress | None = None,
) -> RowEvidence:
    """Score rows against all queries in a single forward and backward pass.

    How a layer's inner products are found is `assay.influence.contract`'s business.
    Features need no gradient at all: ``R_S^T G R_A = (g R_S)^T (x R_A)``.

    Args:
        lm: Model and tokenizer.
        rows: Encoded training examples.
        modules: Tracked layers.
        queries: Preconditioned query gradients, ``(K, out, in)`` each; may be empty.
        settings: Batching and precision.
        individual: Further queries, of low rank; their scores are the last columns.
        rank: Side of each layer's projected gradient; 0 for no features.
        seed: Seed of the projections.
        store: Where rows go, and which are there already; memory by default.
        shard: This process's share of the rows.
        progress: Called with rows done and rows in all.

    Returns:
        Scores, features, losses and hidden states in the order of ``rows``; of no
        rows on all but the main process.
    """
    device = next(lm.model.parameters()).device
    individual = individual or {}
    averaged = len(next(iter(queries.values()))) if queries else 0
    count = averaged
    if individual:
        count += len(next(iter(individual.values())))
    columns = evidence_columns(lm, modules, count, rank)
    store = store or MemoryStore(len(rows), columns)
    batches = settings.batches(rows)
    todo = shard.broadcast_object(store.todo(batches) if shard.is_main else None)
    held, cut = dict(queries), dict(individual)
    sides = projections(modules, rank, seed) if rank else {}
    place = {n: i * rank * rank for i, n in enumerate(modules)}
    scores = torch.empty(0)
    features = torch.empty(0)

    def sink_for(positions: Sequence[int], _: Batch) -> Sink:
        nonlocal scores, features
        scores = torch.zeros(count, len(positions), device=device)
        features = torch.zeros(len(positions), columns["features"], device=device)

        def sink(name: str, x: Tensor, g: Tensor) -> None:
            # Converted once; a layer keeps its precision from batch to batch.
            if averaged:
                held[name] = held[name].to(x.dtype)
                scores[:averaged] += contract(x, g, held[name])
            if individual:
                cut[name] = cut[name].to(x.dtype)
                scores[averaged:] += contract(x, g, cut[name])
            if rank:
                side_in, side_out = sides[name]
                sides[name] = side_in, side_out = side_in.to(x), side_out.to(x)
                small = example_gradients(x @ side_in, g @ side_out)
                first = place[name]
                features[:, first : first + rank * rank] = small.flatten(1)

        return sink

    finished = 0

    def deliver(packed: Tensor | None) -> None:
        """Hand a round of batches, one a process, to the store."""
        nonlocal finished
        for found in shard.gather_rows(packed, sum(columns.values())):
            batch = todo[finished]
            store.write(batch, batches[batch], found.numpy())
            finished += 1

    def finish(_: Sequence[int], output: LossOutput) -> None:
        mean = output.loss.detach() / output.tokens.clamp_min(1)
        parts = (scores.T, mean[:, None], output.hidden.detach(), features)
        deliver(torch.cat([p.float() for p in parts], 1).cpu())

    mine = shard.mine([batches[i] for i in todo])
    backward_pass(
        lm,
        rows,
        modules,
        sink_for,
        settings,
        batches=mine,
        done=finish,
        progress=progress,
    )
    # The last round may have fewer batches than there are processes.
    for _ in range(-(-len(todo) // shard.size) - len(mine)):
        deliver(None)
    arrays = store.arrays if shard.is_main else MemoryStore(0, columns).arrays
    return RowEvidence(
        arrays["scores"], arrays["features"], arrays["losses"][:, 0], arrays["hidden"]
    )
