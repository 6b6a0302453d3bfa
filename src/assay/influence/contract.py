"""Per-example gradients against queries: form them, or contract without forming.

With B examples of T tokens in a layer of shape ``(out, in)`` and K queries, counted
in multiplications per example:

===================================  ===================================
forming the gradient, then K dots    ``T · out · in  +  c · K · out · in``
dense queries, contracted directly   ``T · out · in · K``
rank-r queries, contracted directly  ``T · r · (out + in) · K``
===================================  ===================================

The dots read a gradient that is used K times and no more, so they are bound by memory:
``c`` is how much dearer they are than a large product's multiplications (measured at 2
to 4 on CPUs). Forming therefore wins for two and more dense queries on all but the
shortest sequences, direct contraction for one query, for low ranks, and for the two or
three tokens of a label in a decoder.

Gradients are formed a block of output rows at a time: a whole batch of them, a hundred
megabytes a layer, would leave the cache, and its fresh pages alone cost ten times the
arithmetic.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

BLOCK_BYTES = 16 << 20
DOT_COST = 4


@dataclass
class LowRank:
    """K gradients of rank r.

    Attributes:
        left: ``(K, out, r)``.
        right: ``(K, in, r)``; the gradient is ``left @ right.T``.
    """

    left: Tensor
    right: Tensor

    def __len__(self) -> int:
        """Return K."""
        return len(self.left)

    def to(self, dtype: torch.dtype) -> LowRank:
        """Convert both factors; returns itself when there is nothing to do."""
        if self.left.dtype == dtype:
            return self
        return LowRank(self.left.to(dtype), self.right.to(dtype))

    def dense(self) -> Tensor:
        """Return the gradients, ``(K, out, in)``."""
        return self.left @ self.right.transpose(1, 2)


def gradient_blocks(x: Tensor, g: Tensor) -> Iterator[tuple[slice, Tensor]]:
    """Form per-example gradients some output rows at a time.

    Args:
        x: Inputs, ``(B, T, in)``.
        g: Output gradients, ``(B, T, out)``.

    Yields:
        The output rows and the gradients' ``(B, rows, in)``, valid until the next.
    """
    out = g.shape[2]
    step = max(8, BLOCK_BYTES // (len(x) * x.shape[2] * x.element_size()))
    step = min(step, out)
    buffer = x.new_empty(len(x) * step * x.shape[2])
    turned = g.transpose(1, 2)
    for first in range(0, out, step):
        part = slice(first, min(first + step, out))
        shape = (len(x), part.stop - first, x.shape[2])
        block = buffer[: shape[0] * shape[1] * shape[2]].view(shape)
        torch.bmm(turned[:, part], x, out=block)
        yield part, block


def contract(x: Tensor, g: Tensor, queries: Tensor | LowRank) -> Tensor:
    """Inner products of every example's gradient with every query's.

    Args:
        x: Inputs, ``(B, T, in)``.
        g: Output gradients, ``(B, T, out)``.
        queries: ``(K, out, in)``, in the dtype of ``x``, or of low rank.

    Returns:
        ``(K, B)`` in float32 (float64 for float64 inputs).
    """
    length, inner, out = x.shape[1], x.shape[2], g.shape[2]
    exact = torch.promote_types(x.dtype, torch.float32)
    if isinstance(queries, LowRank):
        rank = queries.left.shape[2]
        if length * rank * (out + inner) < DOT_COST * out * inner:
            return _direct_low_rank(x, g, queries)
    elif length * len(queries) <= length + DOT_COST * len(queries):
        return torch.stack(
            [((g @ q) * x).sum((1, 2), dtype=exact) for q in queries.to(x.dtype)]
        )
    found = x.new_zeros(len(queries), len(x), dtype=exact)
    for part, block in gradient_blocks(x, g):
        flat = block.flatten(1).T
        if isinstance(queries, LowRank):
            # As many queries written out at a time as a block has examples.
            for first in range(0, len(queries), len(x)):
                some = slice(first, first + len(x))
                dense = queries.left[some, part] @ queries.right[some].transpose(1, 2)
                found[some] += dense.flatten(1) @ flat
        else:
            found += queries[:, part].flatten(1) @ flat
    return found


def _direct_low_rank(x: Tensor, g: Tensor, queries: LowRank) -> Tensor:
    exact = torch.promote_types(x.dtype, torch.float32)
    found = x.new_empty(len(queries), len(x), dtype=exact)
    rank = queries.left.shape[2]
    # Two projections of (B, T, k · r) are held at a time.
    step = max(1, BLOCK_BYTES // (2 * x.shape[0] * x.shape[1] * rank * 4))
    for first in range(0, len(queries), step):
        some = slice(first, first + step)
        right = x @ queries.right[some].transpose(1, 2).flatten(0, 1).T
        left = g @ queries.left[some].transpose(1, 2).flatten(0, 1).T
        summed = (right * left).sum(1, dtype=exact)
        found[some] = summed.view(len(x), -1, rank).sum(2).T
    return found


def low_rank(gradients: Tensor, rank: int, generator: torch.Generator) -> LowRank:
    """Best-effort rank-r factors by a randomised range finder.

    Halko, Martinsson and Tropp 2011, algorithm 4.4 with two power iterations and
    eight vectors of oversampling.

    Args:
        gradients: ``(K, out, in)``.
        rank: r; capped at what the shape allows.
        generator: Source of the test matrix, on the CPU.

    Returns:
        Factors whose ``left`` is orthonormal, so that the squared error is the
        squared norm lost.
    """
    out, inner = gradients.shape[1:]
    rank = min(rank, out, inner)
    width = min(rank + 8, out, inner)
    probe = torch.randn(inner, width, generator=generator).to(gradients)
    basis = torch.linalg.qr(gradients @ probe).Q
    for _ in range(2):
        basis = torch.linalg.qr(gradients.transpose(1, 2) @ basis).Q
        basis = torch.linalg.qr(gradients @ basis).Q
    small = basis.transpose(1, 2) @ gradients
    # Rotate to the leading directions by the small Gram matrix.
    turn = torch.linalg.eigh(small @ small.transpose(1, 2)).eigenvectors
    turn = turn.flip(2)[:, :, :rank]
    return LowRank(basis @ turn, small.transpose(1, 2) @ turn)
