"""EK-FAC against curvature without approximation, and against retraining."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from scipy.stats import spearmanr
from torch import Tensor, nn

from assay.influence.ekfac import LayerFactors, eigenbasis, precondition
from assay.influence.factors import fit_factors
from assay.influence.modules import linear_modules
from assay.influence.passes import PassSettings
from assay.influence.queries import precondition_queries, query_gradients
from assay.influence.scores import score_rows
from assay.models.encode import EncodedExample
from assay.models.language_model import LanguageModel
from tests.influence.conftest import captured_gradients
from tests.influence.dense import fisher_scores

WIDTH, CLASSES, ROWS = 4, 3, 100


def test_ekfac_is_the_exact_fisher_when_inputs_and_gradients_are_independent() -> None:
    generator = torch.Generator().manual_seed(0)
    inputs = torch.randn(7, 4, generator=generator, dtype=torch.float64)
    outputs = torch.randn(5, 3, generator=generator, dtype=torch.float64)
    # Every input meets every output gradient: the Fisher is a Kronecker product.
    gradients = torch.einsum("ao,bi->aboi", outputs, inputs).reshape(35, 3, 4)
    layer = LayerFactors(
        eigenbasis(inputs.T @ inputs / 7, "in"),
        eigenbasis(outputs.T @ outputs / 5, "out"),
        torch.zeros(3, 4, dtype=torch.float64),
    )
    turned = layer.basis_out.T @ gradients @ layer.basis_in
    layer.eigenvalues = turned.square().mean(0)
    flat = gradients.flatten(1)
    fisher = flat.T @ flat / 35
    damping = 0.1 * fisher.diagonal().mean()
    query = torch.randn(2, 3, 4, generator=generator, dtype=torch.float64)
    expected = torch.linalg.solve(
        fisher + damping * torch.eye(12, dtype=torch.float64), query.flatten(1).T
    )
    torch.testing.assert_close(
        precondition(query, layer, damping=0.1).flatten(1), expected.T
    )


class Convex(nn.Module):
    """Softmax regression as a language model: one token in, one token out.

    The only trained layer feeds a fixed output embedding, so the loss is convex.
    """

    def __init__(self, features: Tensor) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(1)
        self.embed = nn.Embedding.from_pretrained(features, freeze=True)
        self.linear = nn.Linear(WIDTH, WIDTH)
        nn.init.zeros_(self.linear.weight)
        nn.init.zeros_(self.linear.bias)
        self.head = nn.Linear(WIDTH, CLASSES, bias=False)
        self.head.weight = nn.Parameter(
            torch.randn(CLASSES, WIDTH, generator=generator), requires_grad=False
        )
        self.config = SimpleNamespace(model_type="convex")

    def get_output_embeddings(self) -> nn.Module:
        return self.head

    def get_input_embeddings(self) -> nn.Module:
        return self.embed

    def base_model(self, input_ids: Tensor, **_: Any) -> SimpleNamespace:
        return SimpleNamespace(last_hidden_state=self.linear(self.embed(input_ids)))


def convex_problem() -> tuple[LanguageModel, list[EncodedExample], Tensor]:
    generator = torch.Generator().manual_seed(2)
    features = torch.randn(ROWS + 1, WIDTH, generator=generator)
    truth = torch.randn(WIDTH, CLASSES, generator=generator)
    noise = 0.5 * torch.randn(ROWS + 1, CLASSES, generator=generator)
    labels = (features @ truth + noise).argmax(1)
    rows = [
        EncodedExample(i, [i, i], [-100, int(y)], False) for i, y in enumerate(labels)
    ]
    tokenizer = SimpleNamespace(pad_token_id=0)
    return LanguageModel(Convex(features), tokenizer, "convex", False), rows, labels


def fit(model: Convex, rows: list[int], labels: Tensor, ridge: float) -> None:
    """Minimise the mean loss with a ridge on the trained layer, to convergence."""
    inputs, targets = model.embed.weight[rows], labels[rows]
    solver = torch.optim.LBFGS(
        model.linear.parameters(), max_iter=500, line_search_fn="strong_wolfe"
    )

    def closure() -> Tensor:
        solver.zero_grad()
        losses = F.cross_entropy(
            model.head(model.linear(inputs)), targets, reduction="sum"
        )
        size = sum(p.square().sum() for p in model.linear.parameters())
        loss = losses / ROWS + ridge / 2 * size
        loss.backward()
        return loss

    solver.step(closure)


@pytest.fixture(scope="module")
def retrained() -> tuple[LanguageModel, list[EncodedExample], np.ndarray, float]:
    """The fitted model and how the query's loss changes without each row."""
    ridge = 0.1
    lm, rows, labels = convex_problem()
    model, query = lm.model, ROWS
    everything = list(range(ROWS))

    def query_loss() -> float:
        with torch.no_grad():
            logits = model.head(model.linear(model.embed.weight[query]))
            return float(F.cross_entropy(logits, labels[query]))

    fit(model, everything, labels, ridge)
    state = {n: t.clone() for n, t in model.linear.state_dict().items()}
    before = query_loss()
    changes = []
    for row in everything:
        model.linear.load_state_dict(state)
        fit(model, [i for i in everything if i != row], labels, ridge)
        changes.append(query_loss() - before)
    model.linear.load_state_dict(state)
    return lm, rows, np.array(changes), ridge


@pytest.mark.parametrize("sampled", [False, True])
def test_influence_ranks_rows_as_leave_one_out_retraining_does(
    retrained: tuple[LanguageModel, list[EncodedExample], np.ndarray, float],
    sampled: bool,
) -> None:
    lm, rows, changes, ridge = retrained
    modules = linear_modules(lm.model)
    passes = PassSettings()
    # One draw of labels per row is noisy: give the sampled Fisher more rows.
    fitted = rows[:ROWS] * (25 if sampled else 1)
    factors = fit_factors(lm, fitted, modules, passes, sampled=sampled)
    queries = query_gradients(lm, {"query": rows[ROWS:]}, modules, passes)
    mean = float(factors["linear"].eigenvalues.mean())
    precondition_queries(queries, factors, damping=ridge / mean)
    found = score_rows(lm, rows[:ROWS], modules, queries, passes, rank=0).scores[:, 0]
    # A row that lowers the query's loss is missed when it is gone.
    assert spearmanr(found, changes).statistic > 0.95
    # Not only the order: N · Δloss is the influence itself.
    slope = float(found @ changes / (changes @ changes)) / ROWS
    assert 0.5 < slope < 2


def test_without_curvature_the_ranking_is_worse(
    retrained: tuple[LanguageModel, list[EncodedExample], np.ndarray, float],
) -> None:
    lm, rows, changes, ridge = retrained
    modules = linear_modules(lm.model)
    queries = query_gradients(lm, {"query": rows[ROWS:]}, modules, PassSettings())
    plain = score_rows(lm, rows[:ROWS], modules, queries, PassSettings(), rank=0)
    factors = fit_factors(lm, rows[:ROWS], modules, PassSettings())
    mean = float(factors["linear"].eigenvalues.mean())
    precondition_queries(queries, factors, damping=ridge / mean)
    ekfac = score_rows(lm, rows[:ROWS], modules, queries, PassSettings(), rank=0)
    assert (
        spearmanr(ekfac.scores[:, 0], changes).statistic
        > spearmanr(plain.scores[:, 0], changes).statistic
    )


def test_ekfac_follows_the_exact_fisher_of_a_language_model(
    lm: LanguageModel, rows: list[EncodedExample]
) -> None:
    """All layers at once, no block structure: agreement in rank, not in value."""
    lm.model.float()
    modules = linear_modules(lm.model, pattern="mlp|fc|DenseReluDense|lora_B", first=1)
    passes = PassSettings()
    factors = fit_factors(lm, rows, modules, passes)
    queries = query_gradients(lm, {"q": rows[:2]}, modules, passes, per_query=True)
    precondition_queries(queries, factors)
    found = score_rows(lm, rows, modules, queries, passes, rank=0).scores
    gradients = captured_gradients(lm, rows, modules, passes)
    asked = {n: g[:2] for n, g in gradients.items()}
    expected = fisher_scores(gradients, asked, 0.1).numpy()
    assert spearmanr(found.ravel(), expected.ravel()).statistic > 0.7
