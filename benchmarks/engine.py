"""Speed and memory of the influence engine, beside the floor and kronfluence.

    .venv/bin/python benchmarks/engine.py             # bf16 and fp32, two hours
    .venv/bin/python benchmarks/engine.py --dtypes bf16 --calls 2

SmolLM2-135M, 256 SST-2 rows, seven query sets of 100. The floor is a plain forward and
backward pass over the rows, gradients of the tracked weights included. Every side runs
in a process of its own, for its peak memory, and its times are kept under
``benchmarks/work/engine`` until the commit changes.
"""

from __future__ import annotations

import json
import resource
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
import typer
from provenance import HERE, commit, provenance

from assay.data.sentiment import load_sentiment
from assay.influence.factor_file import load_factors, save_factors
from assay.influence.factors import fit_factors
from assay.influence.modules import linear_modules, weight_shape
from assay.influence.passes import PassSettings, autocast, backward_pass
from assay.influence.queries import (
    averaged_queries,
    low_rank_queries,
    precondition_queries,
)
from assay.influence.scores import score_rows
from assay.models.encode import EncodedExample, collate, encode
from assay.models.language_model import LanguageModel
from assay.models.load import load_model
from assay.models.loss import response_losses
from assay.util.files import write_json
from assay.util.memory import trim

ROWS, SETS, QUERIES, SEED = 256, 7, 100, 0
MORE_SETS = 21
GROWTH = (64, 256, 1024)
INDIVIDUAL, LOW_RANK = 56, 8
SIDES = ("floor", "ours", "kronfluence", "kronfluence-best", "growth")
WORK = HERE / "work" / "engine"
Timed = dict[str, float]


@contextmanager
def clock(times: Timed, stage: str) -> Iterator[None]:
    start = time.perf_counter()
    yield
    times[stage] = round(time.perf_counter() - start, 2)
    print(f"  {stage}: {times[stage]} s", file=sys.stderr, flush=True)


def job(
    sst2: Path,
) -> tuple[LanguageModel, list[EncodedExample], dict[str, list[EncodedExample]]]:
    """The model, 1,024 rows and the query sets, the same for every side."""
    torch.manual_seed(SEED)
    lm = load_model("smollm2-135m")
    train, test = load_sentiment(
        sst2, train_rows=max(GROWTH), test_rows=SETS * QUERIES, seed=SEED
    )
    encoded = encode(train.examples, lm, template="plain").examples
    held = encode(test.examples, lm, template="plain").examples
    sets = {f"set-{i}": held[i::SETS][:QUERIES] for i in range(SETS)}
    return lm, encoded, sets


def plain_pass(
    lm: LanguageModel, rows: list[EncodedExample], passes: PassSettings
) -> None:
    """The floor: what one step of training over the rows computes."""
    lm.model.eval()
    tracked = {id(m.weight) for m in linear_modules(lm.model).values()}
    for parameter in lm.model.parameters():
        parameter.requires_grad_(id(parameter) in tracked)
    lm.model.get_input_embeddings().register_forward_hook(
        lambda _, __, y: y.requires_grad_(True)
    )
    for positions in passes.batches(rows):
        batch = collate([rows[i] for i in positions], lm)
        with autocast(lm.model, passes.bf16):
            output = response_losses(lm.model, batch, lm.is_encoder_decoder)
        output.loss.sum().backward()
        lm.model.zero_grad(set_to_none=False)


def run_floor(sst2: Path, passes: PassSettings) -> dict[str, Any]:
    lm, rows, _ = job(sst2)
    times: Timed = {}
    plain_pass(lm, rows[:64], passes)
    with clock(times, "floor"):
        plain_pass(lm, rows[:ROWS], passes)
    return {"seconds": times}


def run_growth(sst2: Path, passes: PassSettings) -> dict[str, Any]:
    """Time against rows and against query sets; what the queries are is no matter."""
    lm, rows, _ = job(sst2)
    modules = linear_modules(lm.model)
    times: Timed = {}
    generator = torch.Generator().manual_seed(SEED)

    def scored(name: str, count: int, sets: int) -> None:
        some = {
            n: torch.randn(sets, *weight_shape(m), generator=generator).to(
                torch.bfloat16 if passes.bf16 else torch.float32
            )
            for n, m in modules.items()
        }
        if not times:
            score_rows(lm, rows[:64], modules, some, passes, rank=0)
        with clock(times, name):
            score_rows(lm, rows[:count], modules, some, passes, rank=0)

    for count in GROWTH:
        scored(f"scores-{count}", count, SETS)
    for sets in (1, MORE_SETS):
        scored(f"scores-k{sets}", ROWS, sets)
    with clock(times, f"floor-{ROWS}"):
        plain_pass(lm, rows[:ROWS], passes)
    return {"seconds": times}


def run_ours(sst2: Path, passes: PassSettings) -> dict[str, Any]:
    lm, rows, sets = job(sst2)
    modules = linear_modules(lm.model)
    times: Timed = {}
    marks: dict[str, float] = {}

    def stages(done: int, total: int) -> None:
        # Rows, then layers, then rows again: the turning points part the stages.
        for stage, end in (
            ("covariances", ROWS),
            ("eigendecompositions", ROWS + len(modules)),
            ("eigenvalues", total),
        ):
            if done >= end:
                marks.setdefault(stage, time.perf_counter())

    few = rows[:ROWS]
    backward_pass(lm, rows[:64], modules, lambda *_: lambda *__: None, passes)
    marks["start"] = time.perf_counter()
    factors = fit_factors(lm, few, modules, passes, progress=stages)
    ends = list(marks.values())
    for stage, begin, end in zip(list(marks)[1:], ends, ends[1:], strict=False):
        times[stage] = round(end - begin, 2)
    # As a scan does it: kept on disk, and not in memory while rows are scored.
    kept = WORK / f"factors-{passes.bf16}.safetensors"
    with clock(times, "save_factors"):
        save_factors(factors, kept, {})
        trim()
    peaks = {"factors": peak_since()}
    preconditioning = 0.0

    def precondition(some: dict[str, Any]) -> None:
        nonlocal preconditioning
        start = time.perf_counter()
        precondition_queries(some, factors)
        preconditioning += time.perf_counter() - start

    with clock(times, "query_gradients"):
        queries = averaged_queries(lm, sets, modules, passes, precondition)
    times["precondition"] = round(preconditioning, 2)
    times["query_gradients"] = round(times["query_gradients"] - preconditioning, 2)
    del factors
    trim()
    peaks["queries"] = peak_since()

    def scored(name: str, count: int, some: dict[str, Any], rank: int = 0) -> Any:
        with clock(times, name):
            return score_rows(lm, rows[:count], modules, some, passes, rank=rank)

    scores = scored("scores", ROWS, queries).scores
    scored("features", ROWS, {}, rank=16)
    scored("scores_features", ROWS, queries, rank=16)
    peaks["scores"] = peak_since()
    del queries
    factors = load_factors(kept, {}, modules)
    half = {n: r[: INDIVIDUAL // SETS] for n, r in sets.items()}
    with clock(times, "low_rank_queries"):
        cut, lost = low_rank_queries(lm, half, modules, factors, passes, rank=LOW_RANK)
    scored("scores_low_rank", ROWS, cut)
    np.save(WORK / f"scores-ours-{passes.bf16}.npy", scores)
    return {
        "seconds": times,
        "peak_rss_bytes": max(peaks.values()),
        "peak_rss_bytes_by_stage": peaks,
        "low_rank": {
            "queries": len(lost),
            "rank": LOW_RANK,
            "relative_error_median": round(float(np.median(lost)), 4),
            "relative_error_max": round(float(lost.max()), 4),
        },
    }


def run_peer(sst2: Path, passes: PassSettings, best: bool, calls: int) -> dict:
    from peers import kronfluence_job

    lm, rows, sets = job(sst2)
    rows = rows[:ROWS]
    some = dict(list(sets.items())[:calls])
    found = kronfluence_job(
        lm,
        rows,
        some,
        linear_modules(lm.model),
        WORK / "kronfluence",
        best=best,
        bf16=passes.bf16,
        batch=passes.max_batch,
    )
    theirs = np.asarray(found.pop("scores_matrix"))
    result: dict[str, Any] = {"seconds": found, "peak_rss_bytes": peak()}
    ours = WORK / f"scores-ours-{passes.bf16}.npy"
    if ours.exists():
        scores = np.load(ours).T[: len(theirs)]
        pairs = zip(scores, theirs, strict=True)
        result["pearson_with_ours"] = [
            round(float(np.corrcoef(a, b)[0, 1]), 5) for a, b in pairs
        ]
    return result


def peak() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def peak_since() -> int:
    """Peak since this was last asked."""
    status = Path("/proc/self/status").read_text()
    (line,) = [k for k in status.splitlines() if k.startswith("VmHWM:")]
    Path("/proc/self/clear_refs").write_text("5")
    return int(line.split()[1]) * 1024


def ratios(dtype: dict[str, Any]) -> dict[str, float]:
    floor = dtype["floor"]["seconds"]
    ours = dtype["ours"]["seconds"]
    base = floor["floor"]
    factors = ours["covariances"] + ours["eigenvalues"]
    scoring = ours["query_gradients"] + ours["precondition"] + ours["scores"]
    found: dict[str, float] = {
        "score_over_floor": ours["scores"] / base,
        "score_features_over_floor": ours["scores_features"] / base,
        "factors_over_floor": factors / base,
    }
    if "growth" in dtype:
        grown = dtype["growth"]["seconds"]
        slope = (grown[f"scores-k{MORE_SETS}"] - grown[f"scores-{ROWS}"]) / (
            MORE_SETS - SETS
        )
        found |= {
            "score_slope_per_query_over_floor": slope / grown[f"floor-{ROWS}"],
            "score_1024_over_64_rows": grown["scores-1024"] / grown["scores-64"],
        }
    for side, name in (("kronfluence", "seven"), ("kronfluence-best", "best")):
        if side not in dtype:
            continue
        theirs = dtype[side]["seconds"]
        calls = theirs["scores"]
        all_calls = sum(calls) / len(calls) * SETS
        fitted = sum(
            theirs[s] for s in ("covariance", "eigendecomposition", "eigenvalues")
        )
        mine = factors + ours["eigendecompositions"]
        found[f"kronfluence_{name}_over_ours"] = all_calls / scoring
        passes = theirs["score_parts"]["training_rows"]
        found[f"kronfluence_{name}_rows_over_ours"] = (
            sum(passes) / len(passes) * SETS / ours["scores"]
        )
        if name == "seven":
            found["kronfluence_job_over_ours"] = (all_calls + fitted) / (scoring + mine)
    return {n: round(v, 4) for n, v in found.items()}


def main(
    dtypes: Annotated[str, typer.Option(help="Separated by commas.")] = "bf16,fp32",
    sides: Annotated[str, typer.Option(help="Separated by commas.")] = ",".join(SIDES),
    calls: Annotated[int, typer.Option(help="Score calls of kronfluence to time.")] = 7,
    sst2: Path = HERE.parent.parent / "shared" / "data" / "sst2",
    out: Path = HERE / "results" / "engine.json",
    also: Annotated[
        str, typer.Option(help="Take sides measured at these commits too.")
    ] = "",
    worker: Annotated[str | None, typer.Option(hidden=True)] = None,
) -> None:
    """Measure and write the result file."""
    if worker is not None:
        side, dtype = worker.split("/")
        passes = PassSettings(bf16=dtype == "bf16")
        run: dict[str, Callable[[], dict[str, Any]]] = {
            "floor": lambda: run_floor(sst2, passes),
            "growth": lambda: run_growth(sst2, passes),
            "ours": lambda: run_ours(sst2, passes),
            "kronfluence": lambda: run_peer(sst2, passes, False, calls),
            "kronfluence-best": lambda: run_peer(sst2, passes, True, calls),
        }
        result = run[side]()
        result.setdefault("peak_rss_bytes", peak())
        write_json(WORK / f"{side}-{dtype}.json", {**result, "commit": commit()})
        return
    WORK.mkdir(parents=True, exist_ok=True)
    now = commit()

    def kept(side: str, dtype: str) -> dict[str, Any] | None:
        # Its fastest settings are bfloat16 throughout, whatever is asked for.
        kind = "bf16" if side == "kronfluence-best" else dtype
        path = WORK / f"{side}-{kind}.json"
        found = json.loads(path.read_text()) if path.exists() else {}
        return found if found.get("commit") in (now, *also.split(",")) else None

    for dtype in dtypes.split(","):
        for side in sides.split(","):
            if kept(side, dtype) is None:
                print(f"{side}, {dtype}", file=sys.stderr, flush=True)
                kind = "bf16" if side == "kronfluence-best" else dtype
                words = ["--worker", f"{side}/{kind}", "--calls", str(calls)]
                subprocess.run(
                    [sys.executable, __file__, *words, "--sst2", str(sst2)], check=True
                )
            # Written after each side: hours may pass before the last.
            write_json(out, assembled(kept))


def assembled(
    kept: Callable[[str, str], dict[str, Any] | None],
) -> dict[str, Any]:
    """The result file from all that is measured so far."""
    measured: dict[str, dict[str, Any]] = {}
    for dtype in ("bf16", "fp32"):
        found = {s: f for s in SIDES if (f := kept(s, dtype)) is not None}
        if {"floor", "ours"} <= set(found):
            measured[dtype] = {**found, "ratios": ratios(found)}
    return {
        **provenance(),
        "threads": torch.get_num_threads(),
        "model": "smollm2-135m",
        "rows": ROWS,
        "query_sets": SETS,
        "queries_per_set": QUERIES,
        "seed": SEED,
        "dtype": measured,
    }


if __name__ == "__main__":
    typer.run(main)
