"""What a scan will cost, from shapes and a short probe."""

from __future__ import annotations

import shutil
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import nn

from assay.errors import AssayError
from assay.influence.contract import BLOCK_BYTES, DOT_COST
from assay.influence.modules import weight_shape
from assay.influence.passes import PassSettings, backward_pass
from assay.influence.scores import evidence_columns
from assay.influence.sharding import ALONE, Shard
from assay.models.encode import IGNORED, EncodedExample
from assay.models.language_model import LanguageModel
from assay.models.loss import uses_own_logits

GIB = 1 << 30


@dataclass
class Plan:
    """What a scan is about to do.

    Attributes:
        rows: Training rows.
        tokens: Their tokens.
        layers: Linear layers tracked.
        weights: Their weights, biases included.
        passes: What is run over how many rows.
        seconds: Stage to estimated seconds.
        memory: What is held besides the model, in bytes.
        disk: Bytes written to the run folder.
        memory_free: Bytes that may be used on the device, model excluded.
        disk_free: Bytes free where the run folder is.
        device: ``cpu`` or ``cuda``.
        advice: What to lower where a part of memory or disk does not fit.
        verification: What follows, and the most seconds it may take.
    """

    rows: int
    tokens: int
    layers: int
    weights: int
    passes: list[str]
    seconds: dict[str, float]
    memory: dict[str, int]
    disk: dict[str, int]
    memory_free: int
    disk_free: int
    device: str
    advice: dict[str, str] = field(default_factory=dict)
    verification: dict[str, float] = field(default_factory=dict)

    def lines(self) -> list[str]:
        """Describe the plan for people."""
        stages = ", ".join(f"{n} {duration(s)}" for n, s in self.seconds.items())
        held = ", ".join(f"{n} {size(b)}" for n, b in self.memory.items())
        kept = ", ".join(f"{n} {size(b)}" for n, b in self.disk.items())
        then = []
        if "experiments" in self.verification:
            most = duration(self.verification["experiments"])
            then.append(
                f"then at most {most} (usually far less) for experiments on the model"
            )
        if "retraining" in self.verification:
            about = duration(self.verification["retraining"])
            then[-1] += (
                f", and {about} each time the base model is tuned again to decide"
            )
        return [
            f"{self.rows} rows, {self.tokens} tokens, {self.layers} linear layers of "
            f"{self.weights / 1e6:.1f} M weights, on {self.device}",
            f"passes: {'; '.join(self.passes)}",
            f"time: about {duration(sum(self.seconds.values()))} ({stages})",
            *then,
            f"memory besides the model: {size(sum(self.memory.values()))} of "
            f"{size(self.memory_free)} free ({held})",
            f"disk: {size(sum(self.disk.values()))} of {size(self.disk_free)} free "
            f"({kept})",
        ]

    def problems(self) -> list[str]:
        """Say what does not fit and what to lower; empty when all does."""
        found = []
        for what, parts, free in (
            ("memory", self.memory, self.memory_free),
            ("disk space", self.disk, self.disk_free),
        ):
            need = sum(parts.values())
            if need > free:
                largest = max(parts, key=lambda n: parts[n])
                found.append(
                    f"this scan needs {size(need)} of {what} and {size(free)} are "
                    f"free; most is for {largest}: {self.advice[largest]}"
                )
        return found

    def check(self) -> None:
        """Stop before the work when it cannot be finished.

        Raises:
            AssayError: Memory or disk will not do.
        """
        problems = self.problems()
        if problems:
            raise AssayError("; ".join(problems))


def size(count: float) -> str:
    """Write bytes for people."""
    return (
        f"{count / GIB:.2f} GiB" if count >= GIB / 100 else f"{count / 2**20:.1f} MiB"
    )


def duration(seconds: float) -> str:
    """Write seconds for people."""
    if seconds < 100:
        return f"{max(seconds, 1):.0f} s"
    if seconds < 6000:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h"


def free_memory(device: torch.device) -> int:
    """Bytes a process may still take on a device, container limits heeded."""
    if device.type == "cuda":
        free: int = torch.cuda.mem_get_info(device)[0]
        return free
    import psutil

    free = int(psutil.virtual_memory().available)
    for limit, used in (
        ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory.current"),
        (
            "/sys/fs/cgroup/memory/memory.limit_in_bytes",
            "/sys/fs/cgroup/memory/memory.usage_in_bytes",
        ),
    ):
        try:
            left = int(Path(limit).read_text()) - int(Path(used).read_text())
        except (OSError, ValueError):
            continue
        free = min(free, max(left, 0))
    return free


def free_disk(folder: Path) -> int:
    """Bytes free where a folder is or will be."""
    there = folder.absolute()
    while not there.exists() and there != there.parent:
        there = there.parent
    return shutil.disk_usage(there).free


@dataclass(frozen=True)
class Work:
    """What is to be measured.

    Attributes:
        method: Attribution; only what needs gradients of queries costs anything.
        queries: Encoded queries of all sets.
        sets: Query sets, K.
        factor_rows: Rows the curvature is estimated on.
        rank: Side of a layer's projected gradient.
        fitted: Whether factors of this job are on disk already.
        epochs: Epochs of tuning a proxy first; 0 for none.
        experiments: Examples that the model is asked about afterwards, at the most.
        retraining: Epochs of tuning the base model again, should these not decide.
    """

    method: str = "ekfac"
    queries: Sequence[EncodedExample] = ()
    sets: int = 0
    factor_rows: Sequence[EncodedExample] = ()
    rank: int = 16
    fitted: bool = False
    epochs: int = 0
    experiments: int = 0
    retraining: int = 0


def make_plan(
    lm: LanguageModel,
    rows: Sequence[EncodedExample],
    modules: dict[str, nn.Module],
    settings: PassSettings,
    work: Work,
    folder: Path,
    *,
    shard: Shard = ALONE,
    limit: int | None = None,
) -> Plan:
    """Estimate a scan from its shapes and the time of one batch.

    Args:
        lm: Model and tokenizer.
        rows: Encoded training examples.
        modules: Tracked layers.
        settings: Batching and precision.
        work: What is to be measured.
        folder: The run folder.
        shard: This process's share of the work.
        limit: Bytes of memory that may be used; what is free by default.
    """
    shapes = [weight_shape(m) for m in modules.values()]
    weights = sum(o * i for o, i in shapes)
    sides = sum(o * o + i * i for o, i in shapes)
    both = sum(o + i for o, i in shapes)
    tokens = count_tokens(rows)
    per_token, rate, cube = _probe(lm, rows, modules, settings)
    factor_tokens = count_tokens(work.factor_rows)
    query_tokens = count_tokens(work.queries)
    gradients = work.sets if work.method != "repsim" else 0
    ekfac = gradients and work.method == "ekfac" and not work.fitted

    # A step of the optimizer comes to the gradients.
    epoch = 1.5 * tokens * per_token

    passes, seconds = [], {}
    if work.epochs:
        passes.append(f"{work.epochs} over {len(rows)} rows to tune a proxy")
        seconds["tuning"] = work.epochs * epoch * shard.size
    if ekfac:
        passes.append(f"2 over {len(work.factor_rows)} rows for the curvature")
        seconds["covariances"] = factor_tokens * (per_token + 2 * sides / rate)
        seconds["eigendecompositions"] = cube * sum(o**3 + i**3 for o, i in shapes)
        seconds["eigenvalues"] = factor_tokens * (
            per_token + 2 * (sides + weights) / rate
        )
    elif gradients and work.method in ("diagonal", "datainf"):
        times = 2 if work.method == "datainf" else 1
        passes.append(f"{times} over {len(work.factor_rows)} rows for the curvature")
        seconds["curvature"] = factor_tokens * times * (per_token + 2 * weights / rate)
    if work.sets:
        passes.append(f"1 over {len(work.queries)} test inputs ({work.sets} sets)")
        seconds["test inputs"] = query_tokens * (per_token + 2 * weights / rate)
    passes.append(f"1 over {len(rows)} rows")
    seconds["rows"] = tokens * (per_token + 2 * work.rank * both / rate)
    if gradients:
        seconds["rows"] += tokens * 2 * weights / rate
        seconds["rows"] += len(rows) * 2 * gradients * weights * DOT_COST / rate
    for stage in seconds:
        seconds[stage] /= shard.size
    if gradients and work.method == "ekfac":
        turns = sum(o * i * (o + i) for o, i in shapes)
        seconds["preconditioning"] = 4 * gradients * turns / rate

    # All processes but one are done by then. Of a forward and backward pass the
    # forward pass is a third.
    verification = {}
    if work.experiments:
        a_row = tokens / len(rows)
        verification["experiments"] = work.experiments * a_row * per_token / 3
    if work.retraining:
        verification["retraining"] = work.retraining * epoch

    batches = settings.batches(rows)
    widest = max(len(b) * max(len(rows[i].input_ids) for i in b) for b in batches)
    columns = evidence_columns(lm, modules, gradients, work.rank)
    a_row = 4 * sum(columns.values())
    kept = both if not settings.checkpointing else both // 4
    memory = {
        # Inputs, output gradients, and as much again that autograd keeps.
        "batches": widest * kept * (2 if settings.bf16 else 4) * 2
        + BLOCK_BYTES
        + max(map(len, batches)) * a_row
    }
    if uses_own_logits(lm.model):
        # Of every position: as the model gives them, in float32, and their gradient.
        vocabulary = len(lm.model.get_output_embeddings().weight)
        memory["logits"] = 3 * 4 * widest * vocabulary
    advice = {
        "logits": "lower --token-budget or --max-length",
        "batches": "lower --token-budget or --max-length, or give --checkpointing",
        "curvature": "track fewer layers with --first-layers or --modules, or give "
        "--attribution identity",
        "test inputs": "track fewer layers with --first-layers or --modules, or give "
        "--attribution repsim",
        "evidence": "lower --rank",
        "factors": "track fewer layers with --first-layers or --modules",
    }
    disk = {"evidence": len(rows) * a_row}
    if gradients:
        # One set is in the making while finished ones are kept, in the precision of
        # the pass; other attributions need all of them in full.
        one_by_one = work.method in ("ekfac", "identity")
        kept_bytes = 2 if settings.bf16 and one_by_one else 4
        memory["test inputs"] = weights * (kept_bytes * gradients + 4 * one_by_one)
    if gradients and work.method == "ekfac":
        largest = max(max(s) for s in shapes)
        memory["curvature"] = 4 * (sides + weights) + 3 * 8 * largest**2
        if not work.fitted:
            disk["factors"] = 4 * (sides + weights)
    elif gradients and work.method != "identity":
        memory["curvature"] = 4 * weights * (gradients if "inf" in work.method else 1)
    device = lm.model.get_input_embeddings().weight.device
    return Plan(
        len(rows),
        tokens,
        len(modules),
        weights,
        passes,
        seconds,
        memory,
        disk,
        free_memory(device) if limit is None else limit,
        free_disk(folder),
        f"{device.type}, {shard.size} processes" if shard.size > 1 else device.type,
        advice,
        verification,
    )


def count_tokens(rows: Sequence[EncodedExample]) -> int:
    """Tokens the model sees: in an encoder-decoder those of the response too."""
    # A causal model's labels begin with the prompt, ignored, and are seen once.
    return sum(
        len(r.input_ids) + (0 if r.labels[:1] == [IGNORED] else len(r.labels))
        for r in rows
    )


def _probe(
    lm: LanguageModel,
    rows: Sequence[EncodedExample],
    modules: dict[str, nn.Module],
    settings: PassSettings,
) -> tuple[float, float, float]:
    """Time one batch of rows of middling length, and one eigendecomposition.

    Returns:
        Seconds a token of a forward and backward pass, multiplications and additions
        a second in it, and seconds for an eigendecomposition divided by ``n³``.
    """
    batches = settings.batches(rows)
    batch = batches[len(batches) // 2][:8]
    tokens = count_tokens([rows[i] for i in batch])
    took = []
    for _ in range(2):
        # The second time, memory and kernels are warm.
        start = time.perf_counter()
        backward_pass(
            lm, rows, modules, lambda *_: lambda *__: None, settings, batches=[batch]
        )
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        took.append(time.perf_counter() - start)
    per_token = took[-1] / tokens
    linear = [p for p in lm.model.parameters() if p.dim() == 2]
    embedded = lm.model.get_input_embeddings().weight.numel()
    rate = 4 * max(sum(p.numel() for p in linear) - embedded, 1) / per_token
    side = 256
    device = lm.model.get_input_embeddings().weight.device
    matrix = torch.randn(side, side, dtype=torch.float64, device=device)
    matrix = matrix @ matrix.T
    start = time.perf_counter()
    torch.linalg.eigh(matrix)
    return per_token, rate, (time.perf_counter() - start) / side**3
