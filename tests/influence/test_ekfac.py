from __future__ import annotations

import logging

import pytest
import torch
from torch import Tensor

from assay.errors import AssayError
from assay.influence.ekfac import (
    LayerFactors,
    eigenbasis,
    example_gradients,
    precondition,
    rotate,
)


def orthogonal(size: int, seed: int) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    matrix = torch.randn(size, size, generator=generator, dtype=torch.float64)
    return torch.linalg.qr(matrix)[0]


def factors(out: int, inner: int) -> LayerFactors:
    generator = torch.Generator().manual_seed(3)
    values = torch.rand(out, inner, generator=generator, dtype=torch.float64)
    return LayerFactors(orthogonal(inner, 1), orthogonal(out, 2), values)


def test_example_gradients_sum_over_tokens() -> None:
    x, g = torch.randn(3, 5, 4), torch.randn(3, 5, 2)
    expected = torch.stack(
        [
            sum((torch.outer(g[b, t], x[b, t]) for t in range(5)), torch.zeros(2, 4))
            for b in range(3)
        ]
    )
    torch.testing.assert_close(example_gradients(x, g), expected)


def test_precondition_equals_the_dense_inverse() -> None:
    layer = factors(3, 4)
    basis = torch.kron(layer.basis_out, layer.basis_in)
    damping = 0.1 * layer.eigenvalues.mean()
    dense = basis @ torch.diag(layer.eigenvalues.flatten()) @ basis.T
    dense += damping * torch.eye(12, dtype=torch.float64)
    gradients = torch.randn(2, 3, 4, dtype=torch.float64)
    expected = torch.linalg.solve(dense, gradients.flatten(1).T).T
    found = precondition(gradients, layer, damping=0.1)
    torch.testing.assert_close(found.flatten(1), expected)


def test_rotation_keeps_lengths_and_comes_back() -> None:
    layer = factors(3, 4)
    gradients = torch.randn(2, 3, 4, dtype=torch.float64)
    turned = rotate(gradients, layer)
    torch.testing.assert_close(turned.norm(), gradients.norm())
    back = layer.basis_out @ turned @ layer.basis_in.T
    torch.testing.assert_close(back, gradients)


def test_a_layer_without_curvature_keeps_zero_gradients_zero() -> None:
    layer = LayerFactors(torch.eye(2), torch.eye(2), torch.zeros(2, 2))
    assert torch.equal(precondition(torch.zeros(1, 2, 2), layer), torch.zeros(1, 2, 2))


def test_eigenbasis_diagonalises() -> None:
    half = torch.randn(6, 6)
    matrix = half @ half.T
    vectors = eigenbasis(matrix, "a layer")
    assert vectors.dtype == torch.float32
    inside = vectors.T @ matrix @ vectors
    torch.testing.assert_close(
        inside - torch.diag(inside.diagonal()), torch.zeros(6, 6), atol=1e-4, rtol=0
    )


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_an_undefined_covariance_is_refused_by_name(value: float) -> None:
    matrix = torch.eye(3)
    matrix[1, 1] = value
    with pytest.raises(AssayError, match=r"covariance of layer\.7 is not finite"):
        eigenbasis(matrix, "layer.7")


def test_a_failing_decomposition_is_tried_again_with_jitter(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    real, tried = torch.linalg.eigh, []

    def fails_once(matrix: Tensor) -> object:
        tried.append(matrix)
        if len(tried) == 1:
            raise RuntimeError("failed to converge")
        return real(matrix)

    monkeypatch.setattr(torch.linalg, "eigh", fails_once)
    vectors = eigenbasis(torch.diag(torch.tensor([3.0, 1.0, 2.0])), "a layer")
    assert vectors.abs().argmax(0).tolist() == [1, 2, 0]
    shift = (tried[1] - tried[0]).diagonal()
    torch.testing.assert_close(shift, torch.full_like(shift, 2e-6))


def test_the_fallback_is_the_identity_and_is_named(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fails(_: Tensor) -> None:
        raise RuntimeError("failed to converge")

    monkeypatch.setattr(torch.linalg, "eigh", fails)
    with caplog.at_level(logging.WARNING, logger="assay"):
        vectors = eigenbasis(torch.ones(3, 3), "the input of layer.3")
    assert torch.equal(vectors, torch.eye(3))
    assert "the input of layer.3 failed: using its diagonal" in caplog.text
