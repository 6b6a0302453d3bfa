from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from assay.influence.factors import fit_factors
from assay.influence.modules import linear_modules
from assay.influence.passes import PassSettings
from assay.influence.queries import (
    low_rank_queries,
    precondition_queries,
    query_gradients,
)
from assay.influence.scores import RowEvidence, projections, score_rows
from assay.influence.sharding import ALONE, Shard
from assay.models.encode import EncodedExample, encode
from assay.models.language_model import LanguageModel
from tests.influence.conftest import captured_gradients, examples, query_sets
from tests.influence.dense import explicit_scores
from tests.influence.emulated import emulated


@pytest.mark.parametrize("per_query", [False, True])
@pytest.mark.parametrize("max_batch", [1, 4])
def test_scores_equal_the_explicit_formula(
    lm: LanguageModel, rows: list[EncodedExample], max_batch: int, per_query: bool
) -> None:
    lm.model.float()
    passes = PassSettings(max_batch=max_batch)
    modules = linear_modules(lm.model)
    sets = query_sets(lm)
    factors = fit_factors(lm, rows, modules, passes)
    queries = query_gradients(lm, sets, modules, passes, per_query=per_query)
    precondition_queries(queries, factors, damping=0.1)
    found = score_rows(lm, rows, modules, queries, passes, rank=0)

    plain = {n: captured_gradients(lm, s, modules, passes) for n, s in sets.items()}
    stacked = {
        name: torch.cat(
            [p[name] if per_query else p[name].mean(0, True) for p in plain.values()]
        )
        for name in modules
    }
    gradients = captured_gradients(lm, rows, modules, passes)
    expected = explicit_scores(gradients, stacked, factors, 0.1).numpy()
    assert found.scores.shape == (len(rows), 4 if per_query else 2)
    error = np.abs(found.scores - expected).max() / np.abs(expected).max()
    assert error < 1e-4


def test_features_are_two_sided_projections(
    lm: LanguageModel, rows: list[EncodedExample]
) -> None:
    modules = linear_modules(lm.model)
    rank = 3
    found = score_rows(lm, rows, modules, {}, PassSettings(), rank=rank, seed=5)
    gradients = captured_gradients(lm, rows, modules, PassSettings())
    sides = projections(modules, rank, 5)
    expected = [
        sides[n][1].T.double() @ gradients[n].double() @ sides[n][0].double()
        for n in modules
    ]
    flat = torch.cat([e.flatten(1) for e in expected], 1).numpy()
    assert found.features.shape == (len(rows), len(modules) * rank * rank)
    np.testing.assert_allclose(found.features, flat, rtol=1e-3, atol=1e-4)
    other = score_rows(lm, rows, modules, {}, PassSettings(), rank=rank, seed=6)
    assert not np.allclose(other.features, found.features)


def test_losses_and_states_are_the_models_own(
    lm: LanguageModel, rows: list[EncodedExample]
) -> None:
    modules = linear_modules(lm.model)
    found = score_rows(lm, rows, modules, {}, PassSettings(), rank=0)
    lm.model.eval()
    for row, loss, state in zip(rows, found.losses, found.hidden, strict=True):
        output = lm.model(
            input_ids=torch.tensor([row.input_ids]),
            labels=torch.tensor([row.labels]),
            output_hidden_states=True,
        )
        assert loss == pytest.approx(float(output.loss), rel=1e-4)
        if lm.is_encoder_decoder:
            expected = output.decoder_hidden_states[-1][0, 0]
        else:
            first = next(i for i, v in enumerate(row.labels) if v != -100)
            expected = output.hidden_states[-1][0, first - 1]
        np.testing.assert_allclose(
            state, expected.detach().numpy(), rtol=1e-3, atol=1e-4
        )


LONG = [("the plot is good and the cast is bad " * 4, "positive negative")] * 2


@settings(
    max_examples=15,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(
    order=st.permutations(range(6)),
    longer=st.integers(0, 2),
    max_batch=st.integers(1, 8),
    token_budget=st.integers(1, 400),
    checkpointing=st.booleans(),
    processes=st.integers(1, 3),
)
def test_how_rows_go_through_the_model_does_not_change_results(
    lm: LanguageModel,
    rows: list[EncodedExample],
    order: list[int],
    longer: int,
    max_batch: int,
    token_budget: int,
    checkpointing: bool,
    processes: int,
) -> None:
    straight = everything(lm, ALONE, rows, PassSettings())
    # Rows that are collated with much longer ones are mostly padding.
    padding = encode(examples(LONG[:longer]), lm, template="plain").examples
    passes = PassSettings(token_budget, max_batch, checkpointing=checkpointing)
    shuffled = [rows[i] for i in order] + padding
    found = emulated(
        processes, lm, lambda own, shard: everything(own, shard, shuffled, passes)
    )[0]
    for name in ("scores", "features", "losses", "hidden"):
        one, other = getattr(straight, name)[order], getattr(found, name)[:6]
        assert np.abs(one - other).max() < 1e-5 * np.abs(one).max()


def everything(
    lm: LanguageModel, shard: Shard, rows: list[EncodedExample], passes: PassSettings
) -> RowEvidence:
    modules = linear_modules(lm.model)
    queries = query_gradients(lm, query_sets(lm), modules, passes, shard=shard)
    return score_rows(lm, rows, modules, queries, passes, rank=2, shard=shard)


def test_individual_queries_are_the_last_columns(
    lm: LanguageModel, rows: list[EncodedExample]
) -> None:
    modules, passes, sets = linear_modules(lm.model), PassSettings(), query_sets(lm)
    factors = fit_factors(lm, rows, modules, passes)
    averaged = query_gradients(lm, sets, modules, passes)
    cut, _ = low_rank_queries(lm, sets, modules, factors, passes, rank=1)
    both = score_rows(
        lm, rows, modules, averaged, passes, individual=cut, rank=2, seed=3
    )
    first = score_rows(lm, rows, modules, averaged, passes, rank=2, seed=3)
    last = score_rows(lm, rows, modules, {}, passes, individual=cut, rank=0)
    assert both.scores.shape == (len(rows), 2 + 4)
    np.testing.assert_array_equal(both.scores[:, :2], first.scores)
    np.testing.assert_array_equal(both.scores[:, 2:], last.scores)
    np.testing.assert_array_equal(both.features, first.features)
    assert last.features.shape == (len(rows), 0)


def test_features_do_not_depend_on_the_batch_a_row_is_in(
    lm: LanguageModel, rows: list[EncodedExample]
) -> None:
    modules = linear_modules(lm.model)

    def features(max_batch: int) -> np.ndarray:
        passes = PassSettings(max_batch=max_batch)
        return score_rows(lm, rows, modules, {}, passes, rank=4, seed=2).features

    one, six = features(1), features(6)
    assert np.abs(one - six).max() < 1e-5 * np.abs(one).max()


def test_projections_depend_on_seed_and_position_only() -> None:
    layers = {n: torch.nn.Linear(5, 3, bias=False) for n in "abc"}
    drawn = projections(layers, 4, seed=1)
    fewer = projections({"a": layers["a"]}, 4, seed=1)
    assert torch.equal(drawn["a"][0], fewer["a"][0])
    assert not torch.equal(drawn["a"][0], drawn["b"][0])
    assert not torch.equal(drawn["a"][0], projections(layers, 4, seed=2)["a"][0])
    assert drawn["c"][0].shape == (5, 4)
    assert drawn["c"][1].shape == (3, 4)
    # Lengths are kept on average: entries have variance 1 / r.
    wide = projections({"a": torch.nn.Linear(4000, 3, bias=False)}, 4, seed=1)["a"][0]
    assert float(wide.square().mean()) == pytest.approx(1 / 4, rel=0.1)


def test_a_step_on_a_positive_row_lowers_the_query_loss(
    lm: LanguageModel, rows: list[EncodedExample]
) -> None:
    modules = linear_modules(lm.model)
    sets = {"one": query_sets(lm)["original"][:1]}
    queries = query_gradients(lm, sets, modules, PassSettings())
    scores = score_rows(lm, rows, modules, queries, PassSettings(), rank=0).scores
    before = score_rows(lm, sets["one"], modules, {}, PassSettings(), rank=0).losses
    gradients = captured_gradients(lm, rows, modules, PassSettings())
    row = int(np.abs(scores[:, 0]).argmax())
    # Move along the row's gradient in every tracked weight, as training on it would.
    size = 1e-3 / max(float(g[row].norm()) for g in gradients.values())
    with torch.no_grad():
        for name, module in modules.items():
            step = size * gradients[name][row]
            if module.bias is not None:
                module.bias -= step[:, -1]
                step = step[:, :-1]
            module.weight -= step if step.shape == module.weight.shape else step.T
    after = score_rows(lm, sets["one"], modules, {}, PassSettings(), rank=0).losses
    assert np.sign(before[0] - after[0]) == np.sign(scores[row, 0])


def test_training_gradients_are_computed_once_for_all_queries(
    lm: LanguageModel, rows: list[EncodedExample], monkeypatch: pytest.MonkeyPatch
) -> None:
    modules = linear_modules(lm.model)
    queries = query_gradients(lm, query_sets(lm), modules, PassSettings())
    many = {n: q.repeat(20, 1, 1) for n, q in queries.items()}
    calls = []
    backward = torch.Tensor.backward
    monkeypatch.setattr(
        torch.Tensor,
        "backward",
        lambda self, *a, **k: (calls.append(1), backward(self, *a, **k))[1],
    )
    score_rows(lm, rows, modules, many, PassSettings(max_batch=2), rank=2)
    assert len(calls) == 3


def test_bf16_scores_stay_close(lm: LanguageModel, rows: list[EncodedExample]) -> None:
    lm.model.float()
    modules = linear_modules(lm.model)
    sets = query_sets(lm)

    def scores(bf16: bool) -> np.ndarray:
        passes = PassSettings(bf16=bf16)
        factors = fit_factors(lm, rows, modules, passes)
        queries = query_gradients(lm, sets, modules, passes)
        precondition_queries(queries, factors)
        return score_rows(lm, rows, modules, queries, passes, rank=0).scores

    full, half = scores(False), scores(True)
    assert half.dtype == np.float32
    assert np.corrcoef(full.ravel(), half.ravel())[0, 1] > 0.95
