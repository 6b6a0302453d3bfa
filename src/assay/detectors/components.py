"""Principal components of rows that need not fit into memory."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from assay.detectors.evidence import BLOCK, Array, slices

log = logging.getLogger("assay")

# Bytes of one group's rows that may be held for their Gram matrix, and for
# decompositions that need ten times as much.
BUDGET = 2**29
HELD = 2**28
# Rows up to which the Gram matrix and its cubic decomposition are cheap enough.
GRAM_ROWS = 5000
OVERSAMPLING = 20
ITERATIONS = 4


def fits(values: NDArray[np.float32], rows: NDArray[np.intp]) -> bool:
    """Whether rows may be held in double precision."""
    return len(rows) * values.shape[1] * 8 <= HELD


def principal_components(
    features: NDArray[np.float32],
    count: int,
    rows: NDArray[np.intp] | None = None,
    *,
    seed: int = 0,
) -> Array:
    """Scores of length-normalised rows on their top components.

    Up to `GRAM_ROWS` rows they are exact, from two passes; above, see
    `streamed_components`.

    Args:
        features: ``(N, F)``; may be a memory map.
        count: Number of components.
        rows: Positions of the rows in question, ``(n,)``; all by default.
        seed: Seed of the approximation.

    Returns:
        ``(n, count)``.
    """
    rows = np.arange(len(features)) if rows is None else rows
    if len(rows) > GRAM_ROWS:
        return streamed_components(features, count, rows, unit=True, seed=seed)
    values, total, width = np.asarray(features), len(rows), features.shape[1]
    lengths = np.empty((total, 1))
    for part in slices(total, 8 * width, BLOCK):
        block = values[rows[part]].astype(np.float64)
        lengths[part] = np.linalg.norm(block, axis=1, keepdims=True)
    lengths = np.maximum(lengths, 1e-12)
    # n rows, F ≫ n columns: the Gram matrix is the small one. Blocks are of columns,
    # as every pair of blocks of rows would have to be read.
    gram = np.zeros((total, total))
    for columns in slices(width, 8 * total, BUDGET):
        gram += _gram(values, rows, columns, lengths)
    found, vectors = np.linalg.eigh(gram)
    return vectors[:, ::-1][:, :count] * np.sqrt(np.maximum(found[::-1][:count], 0))


def _gram(
    values: NDArray[np.float32], rows: NDArray[np.intp], columns: slice, lengths: Array
) -> Array:
    block = np.empty((len(rows), columns.stop - columns.start))
    for part in slices(len(rows), 8 * block.shape[1], BLOCK):
        block[part] = values[rows[part], columns]
    block /= lengths
    block -= block.mean(0)
    return block @ block.T


def streamed_components(
    values: NDArray[np.float32],
    count: int,
    rows: NDArray[np.intp],
    *,
    unit: bool,
    seed: int = 0,
) -> Array:
    """Scores of rows on their top components, approximately, from five passes.

    Randomised as in Halko, Martinsson, Shkolnisky and Tygert (2011), "An algorithm for
    the principal component analysis of large data sets": a Gaussian matrix is
    multiplied by ``AᵀA`` again and again, and the components are sought in the span of
    all products. In memory are one block of rows, some 120 numbers a row and a few
    times as many a column. What hardly stands out from noise is found less exactly.

    Args:
        values: ``(N, F)``; may be a memory map.
        count: Number of components.
        rows: Positions of the rows in question, ``(n,)``.
        unit: Bring rows to length 1 first.
        seed: Seed of the Gaussian matrix.

    Returns:
        ``(n, count)``, or fewer columns where F or n is less.
    """
    values, total, width = np.asarray(values), len(rows), values.shape[1]
    log.info(
        "components of %d rows: %d passes over %.1f GB",
        total,
        ITERATIONS + 1,
        total * width * values.itemsize / 1e9,
    )
    # Rows of length 1 cannot overflow, and features are the large array.
    kind = np.dtype(np.float32 if unit else np.float64)
    lengths = np.zeros(total)
    mean = np.zeros(width, kind)

    def centred() -> Iterator[tuple[slice, NDArray[Any]]]:
        for part in slices(total, width * kind.itemsize, BLOCK):
            block = values[rows[part]].astype(kind, copy=False)
            if unit:
                if not lengths[part.start]:
                    squares = np.einsum("ij,ij->i", block, block, dtype=np.float64)
                    lengths[part] = np.maximum(np.sqrt(squares), 1e-12)
                block *= (1 / lengths[part, None]).astype(kind)
            block -= mean
            yield part, block

    columns = min(count + OVERSAMPLING, total, width)
    start = np.random.default_rng(seed).standard_normal((width, columns))
    span: list[NDArray[Any]] = [start.astype(kind)]
    for _ in range(ITERATIONS):
        product, residue = np.zeros((width, columns)), np.zeros(width)
        for _, block in centred():
            product += block.T @ (block @ span[-1])
            residue += block.sum(0)
        # The first pass does not know the mean yet, and later ones round it.
        residue /= total
        product -= total * np.outer(residue, residue @ span[-1])
        mean += residue.astype(kind)
        span.append(np.linalg.qr(product)[0].astype(kind))
    basis = np.linalg.qr(np.hstack(span[1:]).astype(np.float64))[0].astype(kind)
    image = np.empty((total, basis.shape[1]), kind)
    covariance = np.zeros((basis.shape[1],) * 2)
    for part, block in centred():
        image[part] = block @ basis
        covariance += image[part].T.astype(np.float64) @ image[part]
    top = np.linalg.eigh(covariance)[1][:, ::-1][:, :count]
    return np.asarray(image @ top.astype(kind), np.float64)
