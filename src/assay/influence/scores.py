"""Scoring training rows: every query set, features and losses in one pass."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from assay.errors import AssayError
from assay.influence.ekfac import example_gradients, precondition
from assay.influence.factors import Factors
from assay.influence.modules import Sink, weight_shape
from assay.influence.passes import PassSettings, backward_pass
from assay.models.encode import Batch, EncodedExample
from assay.models.load import LanguageModel
from assay.models.log_probs import Progress
from assay.models.loss import LossOutput

Queries = dict[str, Tensor]


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


def query_gradients(
    lm: LanguageModel,
    query_sets: Mapping[str, Sequence[EncodedExample]],
    modules: dict[str, nn.Module],
    settings: PassSettings,
    *,
    per_query: bool = False,
    progress: Progress | None = None,
) -> Queries:
    """Gradients of the query sets' losses, stacked over queries.

    Args:
        lm: Model and tokenizer.
        query_sets: Name to encoded queries.
        modules: Tracked layers.
        settings: Batching and precision.
        per_query: Keep every query apart; otherwise each set is averaged.
        progress: Called with queries done and queries in all.

    Returns:
        Layer name to ``(K, out, in)``; K is the number of sets, or of queries in
        the order of the sets.

    Raises:
        AssayError: A query set is empty.
    """
    for name, rows in query_sets.items():
        if not rows:
            raise AssayError(f"query set {name!r} is empty: no test input to score on")
    total = sum(map(len, query_sets.values()))
    kept = total if per_query else len(query_sets)
    device = next(lm.model.parameters()).device
    gradients = {
        n: torch.zeros(kept, *weight_shape(m), device=device)
        for n, m in modules.items()
    }
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
                    gradients[name][index] += summed.float() / size

            return sink

        def advance(done: int, _: int, start: int = offset) -> None:
            if progress is not None:
                progress(start + done, total)

        backward_pass(lm, rows, modules, sink_for, settings, progress=advance)
        offset += len(rows)
    return gradients


def precondition_queries(
    queries: Queries, factors: Factors, *, damping: float = 0.1
) -> Queries:
    """Apply the inverse curvature to every layer's query gradients, in place."""
    for name in queries:
        queries[name] = precondition(queries[name], factors[name], damping=damping)
    return queries


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


def score_rows(
    lm: LanguageModel,
    rows: Sequence[EncodedExample],
    modules: dict[str, nn.Module],
    queries: Queries,
    settings: PassSettings,
    *,
    rank: int = 16,
    seed: int = 0,
    progress: Progress | None = None,
    allocate: Callable[[str, tuple[int, ...]], NDArray[np.float32]] | None = None,
) -> RowEvidence:
    """Score rows against all queries in a single forward and backward pass.

    The gradient of a row is formed once per layer, ``(out, in)``, and contracted
    with all K preconditioned queries; contracting without forming it would cost
    ``T · out · in`` per query instead of once. Features need no gradient at all:
    ``R_S^T G R_A = (g R_S)^T (x R_A)``.

    Args:
        lm: Model and tokenizer.
        rows: Encoded training examples.
        modules: Tracked layers.
        queries: Preconditioned query gradients, ``(K, out, in)`` each; may be empty.
        settings: Batching and precision.
        rank: Side of each layer's projected gradient; 0 for no features.
        seed: Seed of the projections.
        progress: Called with rows done and rows in all.
        allocate: Makes an array of this name and shape (a memory map, say).

    Returns:
        Scores, features, losses and hidden states in the order of ``rows``.
    """
    device = next(lm.model.parameters()).device
    count = next(iter(queries.values())).shape[0] if queries else 0
    make = allocate or (lambda _, shape: np.zeros(shape, np.float32))
    scores = np.zeros((len(rows), count), np.float32)
    features = make("features", (len(rows), len(modules) * rank * rank))
    losses = np.zeros(len(rows), np.float32)
    hidden: list[NDArray[np.float32] | None] = [None] * len(rows)
    flat = {n: q.flatten(1).T for n, q in queries.items()}
    sides = (
        {
            n: (a.to(device), b.to(device))
            for n, (a, b) in projections(modules, rank, seed).items()
        }
        if rank
        else {}
    )
    column = {n: i * rank * rank for i, n in enumerate(modules)}
    running: dict[int, Tensor] = {}

    def sink_for(positions: Sequence[int], _: Batch) -> Sink:
        places = list(positions)
        running.clear()
        running[0] = torch.zeros(len(places), count, device=device)

        def sink(name: str, x: Tensor, g: Tensor) -> None:
            if count:
                gradients = example_gradients(x, g).flatten(1).float()
                running[0] += gradients @ flat[name]
            if rank:
                side_in, side_out = sides[name]
                small = example_gradients(
                    x @ side_in.to(x.dtype), g @ side_out.to(g.dtype)
                )
                first = column[name]
                features[places, first : first + rank * rank] = (
                    small.flatten(1).float().cpu().numpy()
                )

        return sink

    def finish(positions: Sequence[int], output: LossOutput) -> None:
        places = list(positions)
        scores[places] = running[0].cpu().numpy()
        mean = output.loss.detach() / output.tokens.clamp_min(1)
        losses[places] = mean.float().cpu().numpy()
        for place, state in zip(
            places, output.hidden.detach().float().cpu().numpy(), strict=True
        ):
            hidden[place] = state

    backward_pass(lm, rows, modules, sink_for, settings, done=finish, progress=progress)
    states = [state for state in hidden if state is not None]
    return RowEvidence(scores, features, losses, np.stack(states))
