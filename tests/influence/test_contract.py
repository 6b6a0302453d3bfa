from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from assay.influence import contract as module
from assay.influence.contract import LowRank, contract, gradient_blocks, low_rank

# Name: (K, B, T, out, in) and the rank of the queries, 0 for dense ones.
DENSE = {
    "formed": (5, 3, 11, 9, 7, 0),
    "direct, one query": (1, 3, 40, 9, 7, 0),
    "direct, three tokens": (6, 4, 3, 9, 7, 0),
}
NARROW = {
    "direct, low rank": (5, 3, 6, 20, 24, 2),
    "formed, low rank": (5, 3, 40, 20, 24, 6),
    "formed, low rank, more queries than rows": (7, 2, 40, 9, 7, 3),
}
SHAPES = {**DENSE, **NARROW}


def drawn(
    shape: tuple[int, int, int, int, int, int], dtype: torch.dtype
) -> tuple[Tensor, Tensor, Tensor | LowRank]:
    count, rows, length, out, inner, rank = shape
    generator = torch.Generator().manual_seed(1)

    def normal(*size: int) -> Tensor:
        return torch.randn(*size, generator=generator, dtype=torch.float64).to(dtype)

    x, g = normal(rows, length, inner), normal(rows, length, out)
    if rank:
        return x, g, LowRank(normal(count, out, rank), normal(count, inner, rank))
    return x, g, normal(count, out, inner)


def expected(x: Tensor, g: Tensor, queries: Tensor | LowRank) -> Tensor:
    dense = queries.dense() if isinstance(queries, LowRank) else queries
    return torch.einsum("bto,bti,koi->kb", g.double(), x.double(), dense.double())


def off(found: Tensor, right: Tensor) -> float:
    return float((found.double() - right).abs().max() / right.abs().max())


def forms(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Count the blocks of gradients that are formed from here on."""
    formed: list[int] = []

    def counting(x: Tensor, g: Tensor) -> object:
        for part, block in gradient_blocks(x, g):
            formed.append(part.stop - part.start)
            yield part, block

    monkeypatch.setattr(module, "gradient_blocks", counting)
    return formed


@pytest.mark.parametrize("blocks", ["one", "small"])
@pytest.mark.parametrize("case", SHAPES)
def test_contraction_equals_the_sum_written_out(
    case: str, blocks: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if blocks == "small":
        monkeypatch.setattr(module, "BLOCK_BYTES", 1)
    x, g, queries = drawn(SHAPES[case], torch.float64)
    formed = forms(monkeypatch)
    found = contract(x, g, queries)
    assert found.shape == (SHAPES[case][0], SHAPES[case][1])
    assert off(found, expected(x, g, queries)) < 1e-13
    # The case takes the way it is named after, and blocks are as small as asked.
    out = SHAPES[case][3]
    whole, eights = [out], [8] * (out // 8) + [out % 8]
    wanted = whole if blocks == "one" else eights
    assert formed == (wanted if case.startswith("formed") else [])


@pytest.mark.parametrize("case", SHAPES)
@pytest.mark.parametrize(
    ("dtype", "result", "tolerance"),
    [
        (torch.bfloat16, torch.float32, 2e-2),
        (torch.float32, torch.float32, 1e-5),
        (torch.float64, torch.float64, 1e-13),
    ],
)
def test_sums_are_float32_or_wider(
    case: str, dtype: torch.dtype, result: torch.dtype, tolerance: float
) -> None:
    x, g, queries = drawn(SHAPES[case], dtype)
    found = contract(x, g, queries)
    assert found.dtype == result
    assert off(found, expected(x, g, queries)) < tolerance


def test_queries_of_another_precision_are_converted_by_to() -> None:
    _, _, queries = drawn(NARROW["direct, low rank"], torch.float64)
    assert isinstance(queries, LowRank)
    single = queries.to(torch.float32)
    assert single.left.dtype == single.right.dtype == torch.float32
    assert single.to(torch.float32) is single
    assert queries.left.dtype == torch.float64
    assert len(single) == len(single.dense()) == 5


@settings(max_examples=60)
@given(
    rows=st.integers(1, 6),
    length=st.integers(1, 5),
    inner=st.integers(1, 40),
    out=st.integers(1, 70),
    size=st.integers(1, 1 << 15),
)
def test_blocks_cover_every_output_row_once(
    rows: int, length: int, inner: int, out: int, size: int
) -> None:
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(rows, length, inner, generator=generator)
    g = torch.randn(rows, length, out, generator=generator)
    right = torch.einsum("bto,bti->boi", g, x)
    seen = torch.zeros(out)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "BLOCK_BYTES", size)
        for part, block in gradient_blocks(x, g):
            seen[part] += 1
            # Eight rows are formed at a time however little may be held.
            assert part.stop - part.start <= max(8, size // (rows * inner * 4))
            torch.testing.assert_close(block, right[:, part], rtol=1e-5, atol=1e-5)
    assert seen.eq(1).all()


def test_exactly_low_rank_gradients_are_recovered() -> None:
    generator = torch.Generator().manual_seed(0)
    left = torch.randn(4, 30, 3, generator=generator, dtype=torch.float64)
    right = torch.randn(4, 20, 3, generator=generator, dtype=torch.float64)
    gradients = left @ right.transpose(1, 2)
    found = low_rank(gradients, 3, torch.Generator().manual_seed(1))
    assert found.left.shape == (4, 30, 3)
    assert found.right.shape == (4, 20, 3)
    assert off(found.dense(), gradients) < 1e-12
    assert off(low_rank(gradients, 2, generator).dense(), gradients) > 0.01


def test_low_rank_error_is_close_to_the_best_there_is() -> None:
    generator = torch.Generator().manual_seed(0)
    gradients = torch.randn(6, 60, 40, generator=generator, dtype=torch.float64)
    singular = torch.linalg.svdvals(gradients)
    for rank in (1, 4, 16):
        found = low_rank(gradients, rank, generator)
        error = (found.dense() - gradients).square().sum((1, 2)).sqrt()
        best = singular[:, rank:].square().sum(1).sqrt()
        assert (error >= best * (1 - 1e-9)).all()
        assert (error < 1.03 * best).all()
        # What is kept leads: it is near the largest singular values, in order.
        kept = found.right.norm(dim=1)
        assert (kept.diff(dim=1) <= 1e-9).all()
        assert (kept[:, 0] > 0.95 * singular[:, 0]).all()


def test_left_factors_are_orthonormal_so_that_norms_tell_the_error() -> None:
    generator = torch.Generator().manual_seed(0)
    gradients = torch.randn(3, 25, 33, generator=generator, dtype=torch.float64)
    found = low_rank(gradients, 5, generator)
    eye = torch.eye(5, dtype=torch.float64).expand(3, 5, 5)
    torch.testing.assert_close(found.left.transpose(1, 2) @ found.left, eye)
    lost = (gradients - found.dense()).square().sum((1, 2))
    told = gradients.square().sum((1, 2)) - found.right.square().sum((1, 2))
    torch.testing.assert_close(lost, told)


@pytest.mark.parametrize(("out", "inner"), [(3, 20), (20, 3), (1, 1)])
def test_rank_is_capped_by_the_shape_and_loses_nothing_then(
    out: int, inner: int
) -> None:
    generator = torch.Generator().manual_seed(0)
    gradients = torch.randn(2, out, inner, generator=generator, dtype=torch.float64)
    found = low_rank(gradients, 50, generator)
    assert found.left.shape == (2, out, min(out, inner))
    assert found.right.shape == (2, inner, min(out, inner))
    assert off(found.dense(), gradients) < 1e-12


def test_the_same_seed_gives_the_same_factors() -> None:
    gradients = torch.randn(2, 30, 30, generator=torch.Generator().manual_seed(0))
    one, same, other = (
        low_rank(gradients, 2, torch.Generator().manual_seed(s)) for s in (3, 3, 4)
    )
    assert torch.equal(one.right, same.right)
    assert not torch.equal(one.right, other.right)


def test_zero_gradients_stay_zero() -> None:
    found = low_rank(torch.zeros(2, 10, 9), 3, torch.Generator().manual_seed(0))
    assert torch.equal(found.dense(), torch.zeros(2, 10, 9))
