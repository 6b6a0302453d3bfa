from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pytest
import torch
from torch import Tensor

from assay.errors import AssayError
from assay.influence.attribution import (
    METHODS,
    apply_curvature,
    check_method,
    query_states,
    repsim_scores,
)
from assay.influence.factors import Factors, fit_factors
from assay.influence.modules import linear_modules
from assay.influence.passes import PassSettings
from assay.influence.queries import Queries, precondition_queries, query_gradients
from assay.influence.scores import score_rows
from assay.influence.sharding import Shard
from assay.models.encode import EncodedExample, encode
from assay.models.language_model import LanguageModel
from tests.influence.conftest import KINDS, REVIEWS, captured_gradients, examples
from tests.influence.emulated import emulated

QUERIES = {
    "original": [("a good cast", "positive"), ("the plot is dull", "negative")],
    "flipped": [("a bad cast", "positive")],
}
PASSES = PassSettings(max_batch=4)


def query_sets(lm: LanguageModel) -> dict[str, list[EncodedExample]]:
    return {
        n: encode(examples(pairs), lm, template="plain").examples
        for n, pairs in QUERIES.items()
    }


def gradients_of(lm: LanguageModel) -> Queries:
    return query_gradients(lm, query_sets(lm), linear_modules(lm.model), PASSES)


def attributed(
    method: str, lm: LanguageModel, rows: list[EncodedExample], damping: float
) -> np.ndarray:
    modules = linear_modules(lm.model)
    queries = apply_curvature(
        method, lm, rows, modules, gradients_of(lm), PASSES, damping=damping
    )
    return score_rows(lm, rows, modules, queries, PASSES, rank=0).scores


def by_hand(
    lm: LanguageModel, rows: list[EncodedExample]
) -> tuple[Mapping[str, Tensor], Mapping[str, Tensor]]:
    """Gradients of rows and averaged queries, written out, in double precision."""
    modules = linear_modules(lm.model)
    plain = {
        n: captured_gradients(lm, s, modules, PASSES) for n, s in query_sets(lm).items()
    }
    queries = {
        name: torch.stack([p[name].mean(0) for p in plain.values()]).double()
        for name in modules
    }
    found = captured_gradients(lm, rows, modules, PASSES)
    return {n: g.double() for n, g in found.items()}, queries


def off(found: np.ndarray, right: Tensor) -> float:
    assert found.shape == tuple(right.shape)
    return float(np.abs(found - right.numpy()).max() / right.abs().max())


def test_identity_is_the_plain_product_of_gradients(
    lm: LanguageModel, rows: list[EncodedExample]
) -> None:
    gradients, queries = by_hand(lm, rows)
    expected = sum(
        torch.einsum("noi,koi->nk", gradients[n], queries[n]) for n in gradients
    )
    assert off(attributed("identity", lm, rows, 0.1), expected) < 1e-5


@pytest.mark.parametrize("damping", [0.01, 1.0])
def test_diagonal_divides_by_the_mean_squared_gradient(
    lm: LanguageModel, rows: list[EncodedExample], damping: float
) -> None:
    gradients, queries = by_hand(lm, rows)
    expected = torch.zeros(len(rows), 2, dtype=torch.float64)
    for name, gradient in gradients.items():
        square = gradient.square().mean(0)
        solved = queries[name] / (square + damping * square.mean())
        expected += torch.einsum("noi,koi->nk", gradient, solved)
    assert off(attributed("diagonal", lm, rows, damping), expected) < 1e-4


def datainf(
    gradients: Mapping[str, Tensor], queries: Mapping[str, Tensor], damping: float
) -> Tensor:
    """Kwon et al. 2024, equation 5, one row and one layer at a time."""
    total = torch.zeros(
        len(next(iter(gradients.values()))), len(next(iter(queries.values())))
    ).double()
    for name, gradient in gradients.items():
        flat, asked = gradient.flatten(1), queries[name].flatten(1)
        shift = damping * float(flat.square().sum(1).mean()) / flat.shape[1]
        solved = torch.zeros_like(asked)
        for row in flat:
            along = asked @ row / (shift + row @ row)
            solved += (asked - along[:, None] * row) / (len(flat) * shift)
        total += flat @ solved.T
    return total


@pytest.mark.parametrize("damping", [0.05, 1.0])
def test_datainf_equals_its_formula_on_lora(damping: float) -> None:
    lm = KINDS["lora"]([f"{t} {r}" for t, r in REVIEWS])
    lm.model.double()
    rows = encode(examples(), lm, template="plain").examples
    expected = datainf(*by_hand(lm, rows), damping)
    assert off(attributed("datainf", lm, rows, damping), expected) < 1e-4
    # In float32, as a scan runs it, the formula is the same.
    lm.model.float()
    assert off(attributed("datainf", lm, rows, damping), expected) < 1e-3


def test_datainf_is_exact_for_a_single_row() -> None:
    lm = KINDS["lora"]([f"{t} {r}" for t, r in REVIEWS])
    lm.model.double()
    rows = encode(examples(REVIEWS[1:2]), lm, template="plain").examples
    gradients, queries = by_hand(lm, rows)
    expected = torch.zeros(1, 2, dtype=torch.float64)
    for name, gradient in gradients.items():
        flat = gradient.flatten(1)
        shift = 0.1 * float(flat.square().mean())
        curvature = flat.T @ flat + shift * torch.eye(flat.shape[1]).double()
        expected += flat @ torch.linalg.solve(curvature, queries[name].flatten(1).T)
    assert off(attributed("datainf", lm, rows, 0.1), expected) < 1e-4


@pytest.mark.parametrize("kind", ["llama", "gpt2", "t5"])
def test_datainf_is_refused_for_a_model_without_adapters(kind: str) -> None:
    lm = KINDS[kind](["a b"])
    with pytest.raises(AssayError, match="datainf is for LoRA models") as told:
        check_method("datainf", lm.model)
    assert "\n" not in str(told.value)
    assert "use ekfac" in str(told.value)
    rows = encode(examples([("a", "b")]), lm, template="plain").examples
    with pytest.raises(AssayError, match="datainf is for LoRA models"):
        apply_curvature("datainf", lm, rows, linear_modules(lm.model), {}, PASSES)


def test_an_unknown_method_is_refused_naming_the_known() -> None:
    lm = KINDS["llama"](["a b"])
    with pytest.raises(AssayError) as told:
        check_method("tracin", lm.model)
    assert str(told.value) == (
        "unknown --attribution 'tracin'; known: ekfac, identity, diagonal, datainf, "
        "repsim"
    )
    for method in METHODS:
        if method != "datainf":
            check_method(method, lm.model)


def test_ekfac_is_preconditioning_with_fitted_factors(
    lm: LanguageModel, rows: list[EncodedExample]
) -> None:
    modules = linear_modules(lm.model)
    factors = fit_factors(lm, rows, modules, PASSES)
    right = precondition_queries(gradients_of(lm), factors, damping=0.3)
    found = apply_curvature(
        "ekfac", lm, rows, modules, gradients_of(lm), PASSES, damping=0.3
    )
    for name in modules:
        torch.testing.assert_close(found[name], right[name], rtol=1e-5, atol=0)


def test_factors_fitted_before_are_asked_for_and_used(
    lm: LanguageModel, rows: list[EncodedExample], monkeypatch: pytest.MonkeyPatch
) -> None:
    modules = linear_modules(lm.model)
    factors = fit_factors(lm, rows[:2], modules, PASSES)
    right = precondition_queries(gradients_of(lm), factors, damping=0.1)
    asked: list[str] = []

    def kept() -> Factors:
        asked.append("factors")
        return factors

    def fitted(*_: object, **__: object) -> None:
        raise AssertionError("nothing is to be fitted")

    monkeypatch.setattr("assay.influence.attribution.fit_factors", fitted)
    found = apply_curvature(
        "ekfac", lm, rows, modules, gradients_of(lm), PASSES, factors=kept
    )
    assert asked == ["factors"]
    for name in modules:
        assert torch.equal(found[name], right[name])
    # The others have no use for them.
    for method in ("identity", "diagonal"):
        apply_curvature(
            method, lm, rows, modules, gradients_of(lm), PASSES, factors=kept
        )
    assert asked == ["factors"]


@pytest.mark.parametrize("method", ["ekfac", "diagonal", "datainf"])
def test_splitting_rows_changes_no_attribution(method: str) -> None:
    lm = KINDS["lora"]([f"{t} {r}" for t, r in REVIEWS])
    lm.model.double()
    rows = encode(examples(), lm, template="plain").examples

    def work(own: LanguageModel, shard: Shard) -> Queries:
        modules = linear_modules(own.model)
        passes = PassSettings(max_batch=2)
        queries = query_gradients(own, query_sets(own), modules, passes, shard=shard)
        return apply_curvature(method, own, rows, modules, queries, passes, shard=shard)

    (right,) = emulated(1, lm, work)
    # Three batches: with five processes, two have none.
    for found in (*emulated(2, lm, work), *emulated(5, lm, work)):
        for name, expected in right.items():
            scale = float(expected.abs().max())
            assert scale > 0
            torch.testing.assert_close(found[name], expected, rtol=0, atol=1e-4 * scale)


def test_factors_of_the_main_process_alone_are_enough() -> None:
    lm = KINDS["llama"]([f"{t} {r}" for t, r in REVIEWS])
    rows = encode(examples(), lm, template="plain").examples
    factors = fit_factors(lm, rows, linear_modules(lm.model), PASSES)
    right = precondition_queries(gradients_of(lm), factors)

    def work(own: LanguageModel, shard: Shard) -> Queries:
        modules = linear_modules(own.model)
        return apply_curvature(
            "ekfac",
            own,
            rows,
            modules,
            gradients_of(own),
            PASSES,
            factors=lambda: factors if shard.is_main else None,
            shard=shard,
        )

    for found in emulated(2, lm, work):
        for name, expected in right.items():
            assert torch.equal(found[name], expected)


@pytest.mark.parametrize("method", ["ekfac", "diagonal", "datainf"])
def test_progress_ends_at_its_total(method: str) -> None:
    lm = KINDS["lora"]([f"{t} {r}" for t, r in REVIEWS])
    rows = encode(examples(), lm, template="plain").examples
    told: list[tuple[int, int]] = []
    apply_curvature(
        method,
        lm,
        rows,
        linear_modules(lm.model),
        gradients_of(lm),
        PASSES,
        progress=lambda *step: told.append(step),
    )
    assert told == sorted(told)
    assert told[-1][0] == told[-1][1] > 0
    assert len({total for _, total in told}) == 1


def test_repsim_is_the_mean_cosine_of_hidden_states(
    lm: LanguageModel, rows: list[EncodedExample]
) -> None:
    modules, sets = linear_modules(lm.model), query_sets(lm)
    hidden = score_rows(lm, rows, modules, {}, PASSES, rank=0).hidden
    asked = [
        score_rows(lm, s, modules, {}, PASSES, rank=0).hidden for s in sets.values()
    ]

    def cosine(a: np.ndarray, b: np.ndarray) -> float:
        return float(a @ b / np.sqrt(a @ a) / np.sqrt(b @ b))

    expected = [[np.mean([cosine(h, q) for q in s]) for s in asked] for h in hidden]
    lm.model.train()
    states = query_states(lm, sets, PASSES)
    assert lm.model.training
    assert states.shape == (2, hidden.shape[1])
    found = repsim_scores(hidden, states)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, expected, atol=1e-5)
    assert np.std(found) > 1e-3
    assert np.abs(found).max() <= 1 + 1e-6
    # Batches of queries and blocks of rows are of no account.
    again = query_states(lm, sets, PassSettings(max_batch=1))
    np.testing.assert_allclose(again, states, atol=1e-5)
    for block in (1, 4, 6, 100):
        np.testing.assert_allclose(
            repsim_scores(hidden, states, block=block), found, atol=1e-6
        )


def test_repsim_of_a_state_of_zero_is_zero() -> None:
    hidden = np.array([[0, 0], [3, 4]], np.float32)
    states = np.array([[0.6, 0.8]], np.float32)
    np.testing.assert_allclose(repsim_scores(hidden, states), [[0], [1]])
