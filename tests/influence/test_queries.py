from __future__ import annotations

import numpy as np
import pytest
import torch

from assay.errors import AssayError
from assay.influence.factors import fit_factors
from assay.influence.modules import linear_modules, weight_shape
from assay.influence.passes import PassSettings
from assay.influence.queries import (
    averaged_queries,
    low_rank_queries,
    precondition_queries,
    query_gradients,
)
from assay.influence.scores import score_rows
from assay.models.encode import EncodedExample
from assay.models.language_model import LanguageModel
from tests.influence.conftest import query_sets


def test_every_query_alone_at_full_rank_is_the_dense_query(
    lm: LanguageModel, rows: list[EncodedExample]
) -> None:
    modules, passes, sets = linear_modules(lm.model), PassSettings(), query_sets(lm)
    factors = fit_factors(lm, rows, modules, passes)
    dense = query_gradients(lm, sets, modules, passes, per_query=True)
    precondition_queries(dense, factors, damping=0.2)
    expected = score_rows(lm, rows, modules, dense, passes, rank=0).scores
    cut, lost = low_rank_queries(
        lm, sets, modules, factors, passes, rank=10_000, damping=0.2
    )
    found = score_rows(lm, rows, modules, {}, passes, individual=cut, rank=0).scores
    assert found.shape == expected.shape == (len(rows), 4)
    assert np.abs(found - expected).max() < 1e-4 * np.abs(expected).max()
    # The norm of what is left over is a difference of two float32 norms.
    assert lost.shape == (4,)
    assert lost.max() < 1e-3


@pytest.mark.parametrize("rank", [1, 3])
def test_the_error_reported_for_a_low_rank_is_the_true_one(
    lm: LanguageModel, rows: list[EncodedExample], rank: int
) -> None:
    modules, passes, sets = linear_modules(lm.model), PassSettings(), query_sets(lm)
    factors = fit_factors(lm, rows, modules, passes)
    dense = query_gradients(lm, sets, modules, passes, per_query=True)
    precondition_queries(dense, factors)
    cut, lost = low_rank_queries(lm, sets, modules, factors, passes, rank=rank)
    missing = sum(
        (cut[n].dense() - q).double().square().sum((1, 2)) for n, q in dense.items()
    )
    whole = sum(q.double().square().sum((1, 2)) for q in dense.values())
    np.testing.assert_allclose(lost, np.sqrt(missing / whole), rtol=5e-3, atol=1e-3)
    if rank == 1:
        assert lost.min() > 0.05
    for name, module in modules.items():
        out, inner = weight_shape(module)
        assert cut[name].left.shape == (4, out, min(rank, out, inner))


def test_an_empty_query_set_is_named_for_low_ranks_too(
    lm: LanguageModel, rows: list[EncodedExample]
) -> None:
    modules = linear_modules(lm.model)
    factors = fit_factors(lm, rows, modules, PassSettings())
    with pytest.raises(AssayError, match="query set 'none' is empty"):
        low_rank_queries(lm, {"none": []}, modules, factors, PassSettings())


def test_an_empty_query_set_is_named(lm: LanguageModel) -> None:
    with pytest.raises(AssayError, match="query set 'flipped' is empty"):
        query_gradients(
            lm,
            {**query_sets(lm), "flipped": []},
            linear_modules(lm.model),
            PassSettings(),
        )


@pytest.mark.parametrize("bf16", [False, True])
def test_sets_made_one_by_one_equal_sets_made_at_once(
    bf16: bool, lm: LanguageModel, rows: list[EncodedExample]
) -> None:
    modules = linear_modules(lm.model)
    lm.model.float()
    passes = PassSettings(bf16=bf16)
    sets = {"a": rows[:3], "b": rows[3:5], "c": rows[5:6]}

    def halve(queries: dict[str, torch.Tensor]) -> None:
        for query in queries.values():
            query *= 0.5

    told: list[tuple[int, int]] = []
    found = averaged_queries(
        lm,
        sets,
        modules,
        passes,
        halve,
        progress=lambda done, total: told.append((done, total)),
    )
    wanted = query_gradients(lm, sets, modules, passes)
    for name, query in found.items():
        assert query.dtype == (torch.bfloat16 if bf16 else torch.float32)
        assert torch.equal(query, (0.5 * wanted[name]).to(query.dtype))
    assert told == sorted(told)
    assert told[-1] == (6, 6)
