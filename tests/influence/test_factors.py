from __future__ import annotations

import pytest
import torch

from assay.errors import AssayError
from assay.influence.factors import fit_factors
from assay.influence.modules import linear_modules
from assay.influence.passes import PassSettings
from assay.models.encode import EncodedExample
from assay.models.load import LanguageModel
from tests.influence.conftest import captured_gradients
from tests.influence.dense import dense_factors


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
