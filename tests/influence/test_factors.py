from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import nn

from assay.errors import AssayError
from assay.influence.ekfac import LayerFactors
from assay.influence.factors import (
    Covariances,
    Factors,
    add_gram,
    fit_eigenvalues,
    fit_factors,
)
from assay.influence.modules import linear_modules
from assay.influence.passes import PassSettings, backward_pass
from assay.influence.sharding import Shard
from assay.models.encode import Batch, EncodedExample, encode
from assay.models.language_model import LanguageModel
from tests.influence.conftest import KINDS, REVIEWS, captured_gradients, examples
from tests.influence.dense import dense_factors
from tests.influence.emulated import emulated


def test_factors_equal_a_dense_reference(
    lm: LanguageModel, rows: list[EncodedExample]
) -> None:
    lm.model.float()
    modules = linear_modules(lm.model)
    settings = PassSettings(max_batch=4)
    found = fit_factors(lm, rows, modules, settings)
    gradients = captured_gradients(lm, rows, modules, settings)
    for name, (cov_in, cov_out) in dense_factors(lm, rows, modules).items():
        layer = found[name]
        for basis, covariance in (
            (layer.basis_in, cov_in),
            (layer.basis_out, cov_out),
        ):
            inside = basis.T @ covariance @ basis
            rest = inside - torch.diag(inside.diagonal())
            assert rest.abs().max() < 1e-4 * inside.abs().max()
        turned = layer.basis_out.T @ gradients[name] @ layer.basis_in
        expected = turned.square().mean(0)
        scale = float(expected.max())
        torch.testing.assert_close(
            layer.eigenvalues, expected, rtol=1e-3, atol=1e-5 * scale
        )


def test_eigenvalues_sum_to_the_mean_squared_gradient(
    lm: LanguageModel, rows: list[EncodedExample]
) -> None:
    modules = linear_modules(lm.model)
    found = fit_factors(lm, rows, modules, PassSettings())
    gradients = captured_gradients(lm, rows, modules, PassSettings())
    for name, gradient in gradients.items():
        expected = float(gradient.square().sum((1, 2)).mean())
        assert float(found[name].eigenvalues.sum()) == pytest.approx(expected, rel=1e-3)


def test_batching_and_padding_do_not_change_factors(
    lm: LanguageModel, rows: list[EncodedExample]
) -> None:
    modules = linear_modules(lm.model)
    single = fit_factors(lm, rows, modules, PassSettings(max_batch=1))
    padded = fit_factors(lm, rows, modules, PassSettings(max_batch=6))
    for name in modules:
        one, other = single[name], padded[name]
        # Eigenvectors are unique up to sign, the curvature itself is unique.
        for a, b in ((one.basis_in, other.basis_in), (one.basis_out, other.basis_out)):
            torch.testing.assert_close((a.T @ b).norm(), a.norm(), rtol=1e-4, atol=0)
        torch.testing.assert_close(
            one.eigenvalues.sum(), other.eigenvalues.sum(), rtol=1e-4, atol=0
        )


def test_sampled_fisher_is_reproducible_and_not_the_empirical_one(
    lm: LanguageModel, rows: list[EncodedExample]
) -> None:
    modules = linear_modules(lm.model)

    def total(sampled: bool, seed: int = 0) -> float:
        fitted = fit_factors(
            lm, rows, modules, PassSettings(), sampled=sampled, seed=seed
        )
        return sum(float(layer.eigenvalues.sum()) for layer in fitted.values())

    assert total(True) == total(True)
    assert total(True) != total(True, seed=1)
    assert total(True) != total(False)


def test_no_rows_is_an_error(lm: LanguageModel) -> None:
    with pytest.raises(AssayError, match="no rows to fit"):
        fit_factors(lm, [], linear_modules(lm.model), PassSettings())


def test_progress_covers_both_passes_and_the_decompositions(
    lm: LanguageModel, rows: list[EncodedExample]
) -> None:
    told: list[tuple[int, int]] = []
    modules = linear_modules(lm.model)
    fit_factors(
        lm, rows, modules, PassSettings(), progress=lambda *step: told.append(step)
    )
    total = 2 * len(rows) + len(modules)
    assert told == sorted(told)
    assert told[-1] == (total, total)


# Layers that are given the same input, by the end of their names.
SHARED = {
    "llama": [("q_proj", "k_proj", "v_proj"), ("gate_proj", "up_proj")],
    "t5": [("SelfAttention.q", "SelfAttention.k", "SelfAttention.v")],
    # Between two adapters' first halves comes the second half of one of them.
    "lora": [],
    "gpt2": [],
    "opt": [("k_proj", "v_proj", "q_proj")],
}


@pytest.mark.parametrize("checkpointing", [False, True])
@pytest.mark.parametrize("block", [5, 256])
def test_covariances_equal_a_dense_reference_whoever_holds_them(
    lm: LanguageModel,
    rows: list[EncodedExample],
    block: int,
    checkpointing: bool,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("assay.influence.factors.GRAM_BLOCK", block)
    modules = linear_modules(lm.model)
    passes = PassSettings(max_batch=4, checkpointing=checkpointing)
    found = Covariances(modules, torch.device("cpu"))
    backward_pass(lm, rows, modules, found.sink_for, passes)
    for name, (cov_in, cov_out) in dense_factors(lm, rows, modules).items():
        count = float(found.counts[name])
        held = found.inputs[found.owners[name]] / count
        for one, other in ((held, cov_in), (found.outputs[name] / count, cov_out)):
            # Their lower halves count.
            off = (one.double() - other).tril().abs().max()
            assert off < 1e-5 * other.abs().max()
    # An input's matrix is held by its owner alone.
    assert set(found.inputs) == set(found.owners.values())
    assert len(found.outputs) == len(modules)


def test_factors_do_not_depend_on_the_blocks_of_covariances(
    lm: LanguageModel, rows: list[EncodedExample], monkeypatch: pytest.MonkeyPatch
) -> None:
    modules = linear_modules(lm.model)
    whole = fit_factors(lm, rows, modules, PassSettings())
    monkeypatch.setattr("assay.influence.factors.GRAM_BLOCK", 7)
    blocks = fit_factors(lm, rows, modules, PassSettings())
    for name in modules:
        same_curvature(blocks[name], whole[name])


@pytest.mark.parametrize("block", [1, 3, 64])
def test_products_of_low_precision_are_summed_in_float32(
    block: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("assay.influence.factors.GRAM_BLOCK", block)
    x = torch.randn(200, 10, generator=torch.Generator().manual_seed(0)).bfloat16()
    total = torch.zeros(10, 10)
    add_gram(total, x)
    add_gram(total, x)
    right = 2 * x.double().T @ x.double()
    assert (total - right).tril().abs().max() < 1e-5 * right.abs().max()


def test_layers_with_a_common_input_have_one_basis_for_it(
    lm: LanguageModel,
    rows: list[EncodedExample],
    request: pytest.FixtureRequest,
) -> None:
    modules = linear_modules(lm.model)
    found = fit_factors(lm, rows, modules, PassSettings(max_batch=4))
    distinct = {id(layer.basis_in) for layer in found.values()}
    spared = 0
    for group in SHARED[request.node.callspec.params["lm"]]:
        for first in [n for n in found if group[0] in n]:
            same = [found[first.replace(group[0], other)] for other in group]
            assert all(layer.basis_in is same[0].basis_in for layer in same)
            assert len({id(layer.basis_out) for layer in same}) == len(group)
            spared += len(group) - 1
    # Keys and values of a T5's decoder read the encoder's states together too.
    spared += sum("EncDecAttention.k" in n for n in modules)
    assert len(distinct) == len(modules) - spared


def test_layers_that_part_with_their_common_input_are_refused() -> None:
    modules = {"one": nn.Linear(2, 2, bias=False), "two": nn.Linear(2, 2, bias=False)}
    found = Covariances(modules, torch.device("cpu"))
    mask = torch.ones(1, 3, dtype=torch.long)
    batch = Batch(mask, mask, mask)
    x, g = torch.randn(1, 3, 2), torch.randn(1, 3, 2)
    sink = found.sink_for([0], batch)
    sink("one", x, g)
    sink("two", x, g)
    sink = found.sink_for([1], batch)
    sink("one", x, g)
    with pytest.raises(AssayError, match="two shared its input with one in the first"):
        sink("two", x.clone(), g)


def test_a_layer_no_gradient_reaches_is_named(
    lm: LanguageModel, rows: list[EncodedExample]
) -> None:
    modules = linear_modules(lm.model) | {"idle": nn.Linear(2, 2)}
    with pytest.raises(AssayError, match="layer idle never got a gradient"):
        fit_factors(lm, rows, modules, PassSettings())


def test_tokens_and_gradients_rotate_to_the_same_eigenvalues(
    lm: LanguageModel, rows: list[EncodedExample], monkeypatch: pytest.MonkeyPatch
) -> None:
    modules, passes = linear_modules(lm.model), PassSettings(max_batch=4)
    factors = fit_factors(lm, rows, modules, passes)
    bases = {n: (f.basis_in, f.basis_out) for n, f in factors.items()}

    def eigenvalues(rotates: Callable[..., bool] | None) -> dict[str, torch.Tensor]:
        asked: list[bool] = []
        with monkeypatch.context() as patch:
            if rotates is not None:
                patch.setattr(
                    "assay.influence.factors.rotates_tokens",
                    lambda *a: asked.append(True) or rotates(*a),
                )
            found = fit_eigenvalues(lm, rows, modules, passes, bases)
        assert bool(asked) == (rotates is not None)
        return found

    tokens, gradients = eigenvalues(lambda *_: True), eigenvalues(lambda *_: False)
    chosen = eigenvalues(None)
    captured = captured_gradients(lm, rows, modules, passes)
    for name, (side_in, side_out) in bases.items():
        turned = side_out.double().T @ captured[name] @ side_in.double()
        expected = turned.square().mean(0).float()
        scale = float(expected.max())
        assert scale > 0
        for found in (tokens, gradients, chosen):
            torch.testing.assert_close(
                found[name], expected, rtol=1e-4, atol=1e-5 * scale
            )


def test_without_bases_eigenvalues_are_the_diagonal_of_the_fisher(
    lm: LanguageModel, rows: list[EncodedExample]
) -> None:
    modules, passes = linear_modules(lm.model), PassSettings(max_batch=4)
    found = fit_eigenvalues(lm, rows, modules, passes, None)
    for name, gradient in captured_gradients(lm, rows, modules, passes).items():
        expected = gradient.square().mean(0).float()
        torch.testing.assert_close(found[name], expected, rtol=1e-4, atol=1e-12)


@pytest.mark.parametrize("processes", [2, 5])
def test_splitting_rows_changes_no_factor(
    lm: LanguageModel, rows: list[EncodedExample], processes: int
) -> None:
    # Three batches: with five processes, two of them have none.
    passes = PassSettings(max_batch=2)
    one = fit_factors(lm, rows, linear_modules(lm.model), passes)
    found = emulated(
        processes,
        lm,
        lambda own, shard: fit_factors(
            own, rows, linear_modules(own.model), passes, shard=shard
        ),
    )
    for name, layer in one.items():
        for other in (f[name] for f in found):
            same_curvature(layer, other)


def test_splitting_rows_changes_no_sampled_label() -> None:
    lm = KINDS["t5"]([f"{t} {r}" for t, r in REVIEWS])
    rows = encode(examples(), lm, template="plain").examples

    def work(own: LanguageModel, shard: Shard) -> Factors:
        modules, passes = linear_modules(own.model), PassSettings(max_batch=2)
        return fit_factors(
            own, rows, modules, passes, sampled=True, seed=4, shard=shard
        )

    (one,) = emulated(1, lm, work)
    found = emulated(3, lm, work)[2]
    for name in one:
        same_curvature(found[name], one[name])


def same_curvature(one: LayerFactors, other: LayerFactors) -> None:
    """Eigenvectors are unique up to sign and degeneracy, the curvature is unique."""

    def dense(layer: LayerFactors) -> torch.Tensor:
        sides = layer.basis_out.contiguous(), layer.basis_in.contiguous()
        basis = torch.kron(*sides).double()
        return basis * layer.eigenvalues.flatten().double() @ basis.T

    right = dense(one)
    assert (dense(other) - right).abs().max() < 1e-4 * right.abs().max()
