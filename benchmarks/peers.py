"""kronfluence's side of the engine benchmark.

`kronfluence_job` does by kronfluence what the engine does by itself: fit EK-FAC factors
on the rows, then score the rows against every query set. Model, loss, rows, padding,
tracked layers, Fisher and damping are the same; see ``tests/parity`` for what they
agree to.
"""

from __future__ import annotations

import gc
import logging
import tempfile
import time
import warnings
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any
from unittest.mock import patch

import kronfluence
import numpy as np
import torch
from kronfluence.module import TrackedModule
from kronfluence.score import pairwise
from kronfluence.utils.common.factor_arguments import (
    default_factor_arguments,
    reduce_memory_factor_arguments,
)
from kronfluence.utils.common.score_arguments import (
    all_low_precision_score_arguments,
    default_score_arguments,
)
from kronfluence.utils.dataset import DataLoaderKwargs
from kronfluence.utils.logger import PassThroughProfiler
from kronfluence.utils.state import release_memory
from torch import Tensor, nn

from assay.influence.passes import autocast
from assay.models.encode import IGNORED, Batch, EncodedExample, collate
from assay.models.language_model import LanguageModel
from assay.models.loss import response_losses

FACTORS, TOTAL = "factors", "all_modules"
FILES = ("Load ", "Save ")
# Measured at 8 to 64 on two layers of SmolLM2: larger batches leave the cache.
BEST_BATCH = 16


class ResponseTask(kronfluence.Task):
    """Summed response losses; padding is left out of the covariances.

    Args:
        modules: Names of the tracked layers.
        is_encoder_decoder: Whether some layers see the source and some the target.
    """

    def __init__(self, modules: Sequence[str], is_encoder_decoder: bool) -> None:
        self.modules = list(modules)
        self.is_encoder_decoder = is_encoder_decoder

    def compute_train_loss(
        self, batch: dict[str, Tensor], model: nn.Module, sample: bool = False
    ) -> Tensor:
        """Return the sum over the batch; only the data's labels are used."""
        if sample:
            raise ValueError("the benchmark fits the empirical Fisher")
        found = response_losses(model, Batch(**batch), self.is_encoder_decoder)
        return found.loss.sum()

    def compute_measurement(self, batch: dict[str, Tensor], model: nn.Module) -> Tensor:
        """Return the queries' loss."""
        return self.compute_train_loss(batch, model)

    def get_influence_tracked_modules(self) -> list[str]:
        """Return the tracked layers."""
        return self.modules

    def get_attention_mask(
        self, batch: dict[str, Tensor]
    ) -> Tensor | dict[str, Tensor]:
        """Return the real tokens of what each layer sees."""
        source = batch["attention_mask"]
        if not self.is_encoder_decoder:
            return source
        target = (batch["labels"] != IGNORED).long()
        crossing = ("EncDecAttention.k", "EncDecAttention.v")
        return {
            n: source if n.startswith("encoder.") or n.endswith(crossing) else target
            for n in self.modules
        }


class Stopwatch(PassThroughProfiler):
    """Seconds of the stages kronfluence marks for its own profiler; reports nothing."""

    def __init__(self, state: Any) -> None:
        super().__init__(state=state)
        self.seconds: dict[str, list[float]] = defaultdict(list)

    @contextmanager
    def profile(self, action_name: str) -> Iterator[str]:
        """Time one stage."""
        start = now()
        yield action_name
        self.seconds[action_name].append(now() - start)

    def files(self, since: Mapping[str, int]) -> float:
        """Seconds spent on reading and writing files after `counts` was taken."""
        return sum(
            sum(spent[since.get(name, 0) :])
            for name, spent in self.seconds.items()
            if name.startswith(FILES)
        )

    def counts(self) -> dict[str, int]:
        """How often each stage ran."""
        return {name: len(spent) for name, spent in self.seconds.items()}


def quiet() -> None:
    """Silence kronfluence; its bars and its profiler are the analyser's arguments."""
    logging.getLogger("kronfluence").setLevel(logging.ERROR)
    warnings.filterwarnings("ignore", category=FutureWarning, module="kronfluence")


def now() -> float:
    """Read the clock when all that was started is done."""
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.perf_counter()


@contextmanager
def small_heap() -> Iterator[None]:
    """Keep what exists out of the garbage collections between kronfluence's stages."""
    # The first call imports the compiler.
    release_memory()
    gc.freeze()
    try:
        yield
    finally:
        gc.unfreeze()


@contextmanager
def tracked(model: nn.Module, task: kronfluence.Task) -> Iterator[nn.Module]:
    """Wrap the task's layers in place, and put all back as it was afterwards."""
    training = model.training
    trainable = [p for p in model.parameters() if p.requires_grad]
    try:
        yield kronfluence.prepare_model(model, task)
    finally:
        for name, module in list(model.named_modules()):
            if isinstance(module, TrackedModule):
                parent, _, child = name.rpartition(".")
                setattr(model.get_submodule(parent), child, module.original_module)
        for parameter in trainable:
            parameter.requires_grad_(True)
        model.train(training)


def arguments(*, best: bool, bf16: bool) -> tuple[Any, Any]:
    """Give kronfluence's settings for factors and for scores.

    The best ones are its own helpers for low precision, with the covariances kept in
    float32: in bfloat16 their pass is a third faster, a few percent of the job, but on
    two layers of SmolLM2 the correlation with its float32 scores falls from 0.9996 to
    0.995 for 256 rows, and from 0.999 to 0.989 for 32.
    """
    # A damping of None is 0.1 of the layer's mean eigenvalue.
    if best:
        factors = reduce_memory_factor_arguments("ekfac")
        factors.activation_covariance_dtype = torch.float32
        factors.gradient_covariance_dtype = torch.float32
        scores = all_low_precision_score_arguments(damping_factor=None)
    else:
        factors = default_factor_arguments("ekfac")
        scores = default_score_arguments(damping_factor=None)
        factors.amp_dtype = scores.amp_dtype = torch.bfloat16 if bf16 else None
    factors.use_empirical_fisher = True
    scores.aggregate_query_gradients = True
    return factors, scores


@contextmanager
def score_parts(parts: dict[str, list[float]]) -> Iterator[None]:
    """Note when one score call turns from one part of its work to the next.

    The three functions wrapped run once a call each, so nothing is slowed down.
    """
    marks: dict[str, float] = {}

    def timed(name: str) -> Callable[..., Any]:
        inner = getattr(pairwise, name)

        def run(*args: Any, **kwargs: Any) -> Any:
            marks[f"{name} start"] = now()
            result = inner(*args, **kwargs)
            marks[name] = now()
            return result

        return run

    prepare, finish = "prepare_modules", "finalize_all_iterations"
    dots = "compute_dot_products_with_loader"
    with ExitStack() as stack:
        for name in (prepare, finish, dots):
            stack.enter_context(patch.object(pairwise, name, timed(name)))
        start = now()
        yield
    ends = {
        "loading": (start, marks[prepare]),
        "query_gradients": (marks[prepare], marks[f"{finish} start"]),
        "preconditioning": (marks[f"{finish} start"], marks[finish]),
        "training_rows": (marks[f"{dots} start"], marks[dots]),
    }
    for name, (begin, end) in ends.items():
        parts.setdefault(name, []).append(round(end - begin, 3))


def by_length(rows: Sequence[EncodedExample]) -> list[int]:
    """Positions, longest first, so that batches need as little padding as ours."""
    return sorted(
        range(len(rows)),
        key=lambda i: (-max(len(rows[i].input_ids), len(rows[i].labels)), i),
    )


def kronfluence_job(
    lm: LanguageModel,
    rows: Sequence[EncodedExample],
    query_sets: Mapping[str, Sequence[EncodedExample]],
    modules: dict[str, nn.Module],
    folder: Path,
    *,
    best: bool,
    bf16: bool,
    batch: int,
) -> dict[str, Any]:
    """Fit factors on the rows and score the rows against every query set.

    Args:
        lm: Model and tokenizer; the model is given back as it was.
        rows: Encoded training examples.
        query_sets: Name to encoded queries.
        modules: Tracked layers.
        folder: Where kronfluence may write its files, some gigabytes, meanwhile.
        best: Its fastest settings on a CPU, bfloat16 throughout and batches of
            `BEST_BATCH`, rather than its defaults.
        bf16: Run the model under bfloat16 autocast; without effect if ``best``.
        batch: Rows in a batch, at most.

    Returns:
        Seconds: ``covariance``, ``eigendecomposition`` and ``eigenvalues``, a call
        each; ``scores``, one call per query set, and in ``score_parts`` what each of
        them consists of; ``files``, how much of every call went to reading and
        writing files. Further ``settings``, and ``scores_matrix``, ``(sets, rows)``,
        in the order of ``rows`` and averaged over the set's queries.
    """
    quiet()
    batch = min(batch, BEST_BATCH) if best else batch
    task = ResponseTask(list(modules), lm.is_encoder_decoder)
    factor_args, score_args = arguments(best=best, bf16=bf16)
    on_cpu = next(lm.model.parameters()).device.type == "cpu"
    order = by_length(rows)
    train = [rows[i] for i in order]
    loading = DataLoaderKwargs(collate_fn=lambda some: asdict(collate(some, lm)))
    found: dict[str, Any] = {}
    files: dict[str, Any] = {"scores": []}
    parts: dict[str, list[float]] = {}
    calls: list[float] = []
    matrix = np.zeros((len(query_sets), len(rows)), np.float32)

    folder.mkdir(parents=True, exist_ok=True)
    with (
        # Files of an earlier run would be taken instead of computing.
        tempfile.TemporaryDirectory(dir=folder, prefix="kronfluence-") as scratch,
        tracked(lm.model, task) as model,
        small_heap(),
    ):
        analyzer = kronfluence.Analyzer(
            "engine",
            model,
            task,
            cpu=on_cpu,
            profile=False,
            disable_tqdm=True,
            output_dir=scratch,
        )
        analyzer.set_dataloader_kwargs(loading)
        watch = analyzer.profiler = Stopwatch(analyzer.state)
        with autocast(model, factor_args.amp_dtype is not None):
            loss = task.compute_train_loss(loading.collate_fn(train[:batch]), model)
        loss.backward()  # Unclocked: first passes are slower.
        del loss

        def clocked(call: Callable[..., Any], **kwargs: Any) -> tuple[float, float]:
            counts = watch.counts()
            start = now()
            call(**kwargs)
            spent = now() - start
            return round(spent, 3), round(watch.files(counts), 3)

        fitting = {"factors_name": FACTORS, "factor_args": factor_args}
        over_rows = {**fitting, "dataset": train, "per_device_batch_size": batch}
        for stage, call, kwargs in (
            ("covariance", analyzer.fit_covariance_matrices, over_rows),
            ("eigendecomposition", analyzer.perform_eigendecomposition, fitting),
            ("eigenvalues", analyzer.fit_lambda_matrices, over_rows),
        ):
            found[stage], files[stage] = clocked(call, **kwargs)
        for index, (name, queries) in enumerate(query_sets.items()):
            with score_parts(parts):
                spent, on_files = clocked(
                    analyzer.compute_pairwise_scores,
                    scores_name=name,
                    factors_name=FACTORS,
                    query_dataset=[queries[i] for i in by_length(queries)],
                    train_dataset=train,
                    per_device_query_batch_size=batch,
                    per_device_train_batch_size=batch,
                    score_args=score_args,
                )
            calls.append(spent)
            files["scores"].append(on_files)
            scores = analyzer.load_pairwise_scores(name)[TOTAL][0].float().numpy()
            # Sums over the set; ours are means.
            matrix[index, order] = scores / len(queries)
    return {
        **found,
        "scores": calls,
        "score_parts": parts,
        "files": files,
        "settings": {
            "batch": batch,
            "factors": factor_args.to_str_dict(),
            "scores": score_args.to_str_dict(),
        },
        "scores_matrix": matrix,
    }
