"""Scores agree with kronfluence, an independent implementation of EK-FAC influence."""

from __future__ import annotations

import copy
import gc
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from transformers.pytorch_utils import Conv1D

from assay.influence.factors import fit_factors
from assay.influence.modules import linear_modules
from assay.influence.passes import PassSettings
from assay.influence.queries import precondition_queries, query_gradients
from assay.influence.scores import score_rows
from assay.models.encode import IGNORED, Batch, EncodedExample, collate, encode
from assay.models.language_model import LanguageModel
from assay.models.loss import response_losses
from tests.influence.conftest import KINDS, examples

kronfluence = pytest.importorskip(
    "kronfluence", reason="kronfluence is not installed (see the Makefile)"
)

ROWS, BATCH, DAMPING = 24, 5, 0.1
WORDS = ["the", "film", "cast", "plot", "is", "was", "never", "good", "bad", "dull"]
PASSES = PassSettings(max_batch=BATCH)
Queries = Mapping[str, Sequence[EncodedExample]]
Scores = NDArray[np.float64]


def reviews(count: int, seed: int) -> list[tuple[str, str]]:
    """Random texts of two to twelve words, so that every batch has padding."""
    generator = np.random.default_rng(seed)
    return [
        (
            " ".join(generator.choice(WORDS, generator.integers(2, 13))),
            " ".join(generator.choice(["positive", "negative"], 1 + i % 2)),
        )
        for i in range(count)
    ]


@dataclass
class Case:
    """One model, its rows and its queries."""

    lm: LanguageModel
    rows: list[EncodedExample]
    queries: Queries

    @property
    def single(self) -> list[EncodedExample]:
        """Every query on its own."""
        return [q for some in self.queries.values() for q in some]


@pytest.fixture(autouse=True)
def frozen_heap() -> Iterator[None]:
    """kronfluence collects garbage between stages; the heap of a session is large."""
    gc.freeze()
    yield
    gc.unfreeze()


@pytest.fixture(params=["gpt2", "t5"])
def case(request: pytest.FixtureRequest) -> Case:
    texts = reviews(ROWS, 0)
    lm = KINDS[request.param]([f"{t} {r}" for t, r in texts])
    # Double precision leaves the method as the only source of disagreement.
    lm.model.double()

    def encoded(pairs: list[tuple[str, str]]) -> list[EncodedExample]:
        return encode(examples(pairs), lm, template="plain").examples

    queries = {"few": encoded(reviews(3, 1)), "more": encoded(reviews(5, 2))}
    return Case(lm, encoded(texts), queries)


class ResponseTask(kronfluence.Task):
    """Summed response losses with padding left out of the covariances."""

    def __init__(self, modules: Sequence[str], is_encoder_decoder: bool) -> None:
        self.modules = list(modules)
        self.is_encoder_decoder = is_encoder_decoder

    def compute_train_loss(
        self, batch: dict[str, Tensor], model: nn.Module, sample: bool = False
    ) -> Tensor:
        assert not sample
        found = response_losses(model, Batch(**batch), self.is_encoder_decoder)
        return found.loss.sum()

    def compute_measurement(self, batch: dict[str, Tensor], model: nn.Module) -> Tensor:
        return self.compute_train_loss(batch, model)

    def get_influence_tracked_modules(self) -> list[str]:
        return self.modules

    def get_attention_mask(self, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        source = batch["attention_mask"]
        target = (batch["labels"] != IGNORED).long()

        def mask(name: str) -> Tensor:
            if not self.is_encoder_decoder or name.startswith("encoder."):
                return source
            crosses = name.endswith(("EncDecAttention.k", "EncDecAttention.v"))
            return source if crosses else target

        return {name: mask(name) for name in self.modules}


def with_linears(model: nn.Module) -> nn.Module:
    """A copy whose Conv1D layers, which kronfluence does not know, are Linear."""
    model = copy.deepcopy(model)
    for name, module in list(model.named_modules()):
        if isinstance(module, Conv1D):
            inner, out = module.weight.shape
            linear = nn.Linear(inner, out, dtype=module.weight.dtype)
            linear.weight.data = module.weight.data.T.contiguous()
            linear.bias.data = module.bias.data
            parent, _, child = name.rpartition(".")
            setattr(model.get_submodule(parent), child, linear)
    return model


def score_arguments(**extra: Any) -> Any:
    """Double precision, damping by the heuristic: 0.1 of a layer's mean eigenvalue."""
    dtypes = ("per_sample_gradient_dtype", "precondition_dtype", "score_dtype")
    return kronfluence.ScoreArguments(
        damping_factor=None, **dict.fromkeys(dtypes, torch.float64), **extra
    )


class Peer:
    """kronfluence on a case, with its factors fitted."""

    def __init__(self, case: Case, folder: Path) -> None:
        self.case = case
        lm = case.lm
        names = list(linear_modules(lm.model))
        task = ResponseTask(names, lm.is_encoder_decoder)
        model = kronfluence.prepare_model(with_linears(lm.model), task)
        self.analyzer = kronfluence.Analyzer(
            "parity",
            model,
            task,
            cpu=True,
            disable_tqdm=True,
            output_dir=str(folder),
        )
        self.analyzer.set_dataloader_kwargs(
            kronfluence.utils.dataset.DataLoaderKwargs(
                collate_fn=lambda rows: asdict(collate(rows, lm))
            )
        )
        dtypes = (
            "activation_covariance_dtype",
            "gradient_covariance_dtype",
            "per_sample_gradient_dtype",
            "lambda_dtype",
        )
        arguments = kronfluence.FactorArguments(
            strategy="ekfac",
            use_empirical_fisher=True,
            **dict.fromkeys(dtypes, torch.float64),
        )
        self.analyzer.fit_all_factors(
            "all", case.rows, per_device_batch_size=BATCH, factor_args=arguments
        )

    def scores(
        self, name: str, queries: Sequence[EncodedExample], **extra: Any
    ) -> Scores:
        """Influence of every row, ``(queries, rows)``."""
        self.analyzer.compute_pairwise_scores(
            scores_name=name,
            factors_name="all",
            query_dataset=queries,
            train_dataset=self.case.rows,
            per_device_query_batch_size=BATCH,
            per_device_train_batch_size=BATCH,
            score_args=score_arguments(**extra),
        )
        found = self.analyzer.load_pairwise_scores(name)["all_modules"]
        return found.double().numpy()


def our_scores(case: Case, *, per_query: bool) -> Scores:
    """Influence of every row, ``(queries, rows)``."""
    modules = linear_modules(case.lm.model)
    factors = fit_factors(case.lm, case.rows, modules, PASSES)
    queries = query_gradients(
        case.lm, case.queries, modules, PASSES, per_query=per_query
    )
    precondition_queries(queries, factors, damping=DAMPING)
    found = score_rows(case.lm, case.rows, modules, queries, PASSES, rank=0)
    return found.scores.T.astype(np.float64)


def assert_agree(ours: Scores, theirs: Scores) -> None:
    assert ours.shape == theirs.shape
    for mine, other in zip(ours, theirs, strict=True):
        assert np.corrcoef(mine, other)[0, 1] >= 0.999
        # Pearson alone forgives a small change of damping and any change of scale.
        assert np.abs(mine - other).max() <= 1e-3 * np.abs(other).max()


def test_scores_of_single_queries_and_of_sets_agree(case: Case, tmp_path: Path) -> None:
    peer = Peer(case, tmp_path)
    assert_agree(our_scores(case, per_query=True), peer.scores("single", case.single))
    # kronfluence sums the gradients of a set, we average them.
    sets = [
        peer.scores(name, some, aggregate_query_gradients=True)[0] / len(some)
        for name, some in case.queries.items()
    ]
    assert_agree(our_scores(case, per_query=False), np.stack(sets))
