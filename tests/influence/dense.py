"""Slow references: one row at a time, every matrix written out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from assay.influence.ekfac import LayerFactors
from assay.influence.modules import with_bias_column
from assay.models.encode import EncodedExample
from assay.models.language_model import LanguageModel


def dense_factors(
    lm: LanguageModel,
    rows: Sequence[EncodedExample],
    modules: dict[str, nn.Module],
) -> dict[str, tuple[Tensor, Tensor]]:
    """Covariances of inputs and output gradients over all tokens of all rows."""
    lm.model.eval()
    inputs: dict[str, list[Tensor]] = {n: [] for n in modules}
    outputs: dict[str, list[Tensor]] = {n: [] for n in modules}
    handles = []

    for name, module in modules.items():

        def hook(
            module: nn.Module, args: tuple[Tensor], y: Tensor, name: str = name
        ) -> None:
            # One row, with or without a dimension for it.
            x = with_bias_column(module, args[0].detach())
            inputs[name].append(x.flatten(0, -2))
            y.register_hook(lambda g: outputs[name].append(g.detach().flatten(0, -2)))

        handles.append(module.register_forward_hook(hook))
    for row in rows:
        labels = torch.tensor([row.labels])
        loss = lm.model(input_ids=torch.tensor([row.input_ids]), labels=labels).loss
        predicted = labels if lm.is_encoder_decoder else labels[:, 1:]
        (loss * (predicted != -100).sum()).backward()
    for handle in handles:
        handle.remove()
    lm.model.zero_grad()
    found = {}
    for name in modules:
        x, g = torch.cat(inputs[name]), torch.cat(outputs[name])
        found[name] = (x.T @ x / len(x), g.T @ g / len(g))
    return found


def explicit_scores(
    row_gradients: Mapping[str, Tensor],
    query_gradients: Mapping[str, Tensor],
    factors: Mapping[str, LayerFactors],
    damping: float,
) -> Tensor:
    """EK-FAC influence ``(N, K)`` with the ``out · in`` square curvature in full."""
    total = torch.zeros(1)
    for name, layer in factors.items():
        basis = torch.kron(layer.basis_out, layer.basis_in).double()
        values = layer.eigenvalues.flatten().double()
        curvature = basis @ torch.diag(values + damping * values.mean()) @ basis.T
        solved = torch.linalg.solve(
            curvature, query_gradients[name].flatten(1).T.double()
        )
        total = total + row_gradients[name].flatten(1).double() @ solved
    return total


def fisher_scores(
    row_gradients: Mapping[str, Tensor],
    query_gradients: Mapping[str, Tensor],
    damping: float,
) -> Tensor:
    """Influence ``(N, K)`` under the exact empirical Fisher of all layers at once."""
    rows = torch.cat([g.flatten(1).double() for g in row_gradients.values()], dim=1)
    queries = torch.cat([g.flatten(1).double() for g in query_gradients.values()], 1)
    fisher = rows.T @ rows / len(rows)
    shift = damping * fisher.diagonal().mean()
    eye = torch.eye(len(fisher), dtype=torch.float64)
    return rows @ torch.linalg.solve(fisher + shift * eye, queries.T)
