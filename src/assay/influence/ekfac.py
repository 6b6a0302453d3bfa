"""Eigenvalue-corrected Kronecker-factored curvature, as pure tensor functions.

George et al. 2018, "Fast Approximate Natural Gradient Descent in a Kronecker-factored
Eigenbasis"; applied to influence functions by Grosse et al. 2023, "Studying Large
Language Model Generalization with Influence Functions" (section 2.2).
"""

from __future__ import annotations

import logging
from dataclasses import dataclass

import torch
from torch import Tensor

from assay.errors import AssayError

log = logging.getLogger("assay")


@dataclass
class LayerFactors:
    """Curvature of one linear layer in its Kronecker eigenbasis.

    Attributes:
        basis_in: Eigenvectors of the input covariance, columns, ``(in, in)``.
        basis_out: Eigenvectors of the output-gradient covariance, ``(out, out)``.
        eigenvalues: Mean squared per-example gradient in that basis, ``(out, in)``.
    """

    basis_in: Tensor
    basis_out: Tensor
    eigenvalues: Tensor


def example_gradients(x: Tensor, g: Tensor) -> Tensor:
    """Per-example weight gradients, ``(B, out, in)``, from ``(B, T, ·)`` tensors."""
    return torch.bmm(g.transpose(1, 2), x)


def rotates_tokens(length: int, out: int, inner: int) -> bool:
    """Whether rotating tokens is cheaper than rotating the gradient they sum to.

    Per example, ``x Q_A`` and ``g Q_S`` take ``T (in² + out²)`` multiplications,
    ``Q_S^T G Q_A`` takes ``out · in · (out + in)``: tokens for the wide layers of a
    language model, gradients for LoRA's narrow ones.
    """
    return length * (inner**2 + out**2) < out * inner * (out + inner)


def eigenbasis(covariance: Tensor, name: str) -> Tensor:
    """Eigenvectors of a symmetric positive semi-definite matrix, in float64.

    A matrix LAPACK fails on is tried again with ``1e-6`` of its mean diagonal added;
    should that fail too the identity is used (the layer is then treated by its
    diagonal alone) and the log says so by name.

    Args:
        covariance: ``(n, n)``.
        name: Layer and side, for messages.

    Returns:
        Eigenvectors as columns, ``(n, n)``, in the input's dtype.

    Raises:
        AssayError: The matrix has an infinite or undefined entry.
    """
    if not torch.isfinite(covariance).all():
        raise AssayError(
            f"the covariance of {name} is not finite: the model overflows on this data "
            "(try --no-bf16), or its weights are damaged"
        )
    matrix = covariance.double()
    matrix = (matrix + matrix.T) / 2
    eye = torch.eye(len(matrix), dtype=matrix.dtype, device=matrix.device)
    jitter = 1e-6 * matrix.diagonal().mean().clamp_min(1e-300)
    for shift in (0.0, float(jitter)):
        try:
            vectors = torch.linalg.eigh(matrix + shift * eye)[1]
        except RuntimeError:
            continue
        if torch.isfinite(vectors).all():
            return vectors.to(covariance.dtype)
    log.warning("eigendecomposition of %s failed: using its diagonal instead", name)
    return eye.to(covariance.dtype)


def rotate(gradients: Tensor, factors: LayerFactors) -> Tensor:
    """Express gradients ``(K, out, in)`` in the Kronecker eigenbasis."""
    return factors.basis_out.T @ gradients @ factors.basis_in


def damped(eigenvalues: Tensor, damping: float) -> Tensor:
    """Return ``Λ + λ`` with ``λ = damping · mean(Λ)``."""
    # A layer no query and no example moves has no curvature; zero stays zero.
    return eigenvalues + (damping * eigenvalues.mean()).clamp_min(1e-30)


def precondition(
    gradients: Tensor, factors: LayerFactors, *, damping: float = 0.1
) -> Tensor:
    """Apply the damped inverse curvature to gradients.

    Computes ``Q_S ((Q_S^T G Q_A) / (Λ + λ)) Q_A^T`` with ``λ = damping · mean(Λ)``
    (Grosse et al. 2023, equation 20).

    Args:
        gradients: ``(K, out, in)``.
        factors: The layer's curvature.
        damping: Damping relative to the layer's mean eigenvalue.

    Returns:
        ``(K, out, in)``.
    """
    scaled = rotate(gradients, factors) / damped(factors.eigenvalues, damping)
    return factors.basis_out @ scaled @ factors.basis_in.T
