from __future__ import annotations

import json
import math
import time
from dataclasses import asdict, replace
from pathlib import Path

import pytest
import torch

from assay.data.generated import generated_reviews
from assay.errors import AssayError
from assay.influence.attribution import apply_curvature
from assay.influence.contract import BLOCK_BYTES
from assay.influence.factor_file import save_factors
from assay.influence.factors import fit_factors
from assay.influence.modules import linear_modules
from assay.influence.passes import PassSettings
from assay.influence.queries import query_gradients
from assay.influence.scores import evidence_columns, score_rows
from assay.influence.sharding import Shard
from assay.influence.store import DiskStore
from assay.models.encode import EncodedExample, encode
from assay.models.language_model import LanguageModel
from assay.models.loss import use_own_logits
from assay.models.tiny import tiny_causal
from assay.scanning.cost import (
    GIB,
    Plan,
    Work,
    count_tokens,
    duration,
    free_disk,
    free_memory,
    make_plan,
    size,
)
from tests.influence.conftest import KINDS, REVIEWS, examples

SETS, RANK = 7, 3


def prepared(kind: str) -> tuple[LanguageModel, list[EncodedExample]]:
    lm = KINDS[kind]([f"{t} {r}" for t, r in REVIEWS])
    return lm, encode(examples(), lm, template="plain").examples


def planned(
    kind: str = "llama",
    folder: Path = Path(),
    passes: PassSettings | None = None,
    shard: Shard | None = None,
    limit: int | None = None,
    **work: object,
) -> Plan:
    lm, rows = prepared(kind)
    queries = {"queries": rows[:2] * SETS, "sets": SETS, "factor_rows": rows[:4]}
    return make_plan(
        lm,
        rows,
        linear_modules(lm.model),
        passes or PassSettings(),
        Work(**{"rank": RANK, **queries, **work}),
        folder,
        shard=shard or Shard(),
        limit=limit,
    )


def test_logits_at_all_positions_take_memory_where_they_are_the_models_own() -> None:
    lm, rows = prepared("llama")
    modules = linear_modules(lm.model)

    def memory() -> dict[str, int]:
        return make_plan(lm, rows, modules, PassSettings(), Work(), Path()).memory

    assert "logits" not in memory()
    use_own_logits(lm.model)
    widest = 6 * max(len(r.input_ids) for r in rows)
    assert memory()["logits"] == 12 * widest * len(lm.tokenizer)


# The layers of each tiny model: (out, in) with a column for a bias, and how many.
SHAPES = {
    "llama": [((16, 16), 8), ((32, 16), 4), ((16, 32), 2)],
    "gpt2": [((36, 13), 2), ((12, 13), 2), ((48, 13), 2), ((12, 49), 2)],
    "opt": [((12, 13), 4), ((16, 13), 1), ((12, 17), 1)],
    "t5": [((16, 16), 12), ((32, 16), 2), ((16, 32), 2)],
    "lora": [((2, 16), 6), ((16, 2), 5), ((32, 2), 2), ((2, 32), 1)],
}


def total(kind: str, what: str) -> int:
    count = {
        "layers": lambda o, i: 1,
        "weights": lambda o, i: o * i,
        "sides": lambda o, i: o * o + i * i,
        "both": lambda o, i: o + i,
    }[what]
    return sum(times * count(o, i) for (o, i), times in SHAPES[kind])


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_counts_are_exact(kind: str) -> None:
    _, rows = prepared(kind)
    plan = planned(kind)
    assert plan.rows == 6
    assert plan.layers == total(kind, "layers")
    assert plan.weights == total(kind, "weights")
    seen = sum(len(r.input_ids) for r in rows)
    if kind == "t5":
        seen += sum(len(r.labels) for r in rows)
    assert plan.tokens == seen
    assert plan.device == "cpu"


def test_prompt_and_response_of_one_length_are_both_counted() -> None:
    lm = KINDS["t5"](["a b c"])
    rows = encode(examples([("a b c", "a b c")]), lm, template="plain").examples
    assert len(rows[0].input_ids) == len(rows[0].labels) == 4
    assert count_tokens(rows) == 8


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_memory_and_disk_are_exact(kind: str) -> None:
    lm, rows = prepared(kind)
    plan = planned(kind)
    weights, sides = total(kind, "weights"), total(kind, "sides")
    largest = max(max(shape) for shape, _ in SHAPES[kind])
    columns = SETS + 1 + lm.model.get_input_embeddings().embedding_dim
    columns += total(kind, "layers") * RANK**2
    # All six rows are one batch, padded to the longest.
    widest = 6 * max(len(r.input_ids) for r in rows)
    assert plan.memory == {
        "batches": widest * total(kind, "both") * 4 * 2 + BLOCK_BYTES + 6 * 4 * columns,
        "test inputs": 8 * weights * 4,
        "curvature": 4 * (sides + weights) + 3 * 8 * largest**2,
    }
    assert plan.disk == {
        "evidence": 6 * 4 * columns,
        "factors": 4 * (sides + weights),
    }


def test_disk_is_what_is_written(tmp_path: Path) -> None:
    lm, rows = prepared("llama")
    plan = planned()
    modules, passes = linear_modules(lm.model), PassSettings()
    columns = evidence_columns(lm, modules, SETS, RANK)
    sets = {str(i): rows[:2] for i in range(SETS)}
    queries = query_gradients(lm, sets, modules, passes)
    store = DiskStore(tmp_path / "store", "key", len(rows), columns)
    score_rows(lm, rows, modules, queries, passes, rank=RANK, store=store)
    store.close()
    data = sum(array.nbytes for array in store.arrays.values())
    assert plan.disk["evidence"] == data
    written = sum(p.stat().st_size for p in (tmp_path / "store").glob("*.npy"))
    assert data < written < data + 4 * 200
    path = tmp_path / "factors.safetensors"
    save_factors(fit_factors(lm, rows, modules, passes), path, {})
    # Bases that layers share are written once, which the plan does not count on.
    assert path.stat().st_size <= plan.disk["factors"] + 10_000


def test_lower_precision_and_checkpointing_take_less_for_batches() -> None:
    full = planned()
    half = planned(passes=PassSettings(bf16=True))
    light = planned(passes=PassSettings(checkpointing=True))
    fixed = BLOCK_BYTES + full.disk["evidence"]

    def activations(plan: Plan) -> int:
        return plan.memory["batches"] - fixed

    assert activations(half) * 2 == activations(full)
    assert activations(light) * 4 == activations(full)
    # One of the seven sets is in the making, in float32; the others are kept.
    weights = total("llama", "weights")
    assert full.memory["test inputs"] == weights * (7 * 4 + 4)
    assert half.memory["test inputs"] == weights * (7 * 2 + 4)


def test_only_what_a_method_needs_is_counted() -> None:
    weights = total("llama", "weights")

    def parts(method: str) -> tuple[dict[str, int], dict[str, int], str]:
        plan = planned(method=method)
        rest = {n: b for n, b in plan.memory.items() if n != "batches"}
        return rest, plan.disk, "; ".join(plan.passes)

    queries = {"test inputs": 7 * weights * 4}
    after = "1 over 14 test inputs (7 sets); 1 over 6 rows"
    rest, disk, passes = parts("identity")
    one_more = {"test inputs": 8 * weights * 4}
    assert (rest, set(disk), passes) == (one_more, {"evidence"}, after)
    rest, disk, passes = parts("diagonal")
    assert rest == queries | {"curvature": weights * 4}
    assert passes == f"1 over 4 rows for the curvature; {after}"
    rest, disk, passes = parts("datainf")
    assert rest == queries | {"curvature": 7 * weights * 4}
    assert passes == f"2 over 4 rows for the curvature; {after}"
    rest, disk, passes = parts("repsim")
    assert (rest, set(disk), passes) == ({}, {"evidence"}, after)
    rest, disk, passes = parts("ekfac")
    assert set(disk) == {"evidence", "factors"}
    assert passes == f"2 over 4 rows for the curvature; {after}"
    fitted = planned(fitted=True)
    assert "; ".join(fitted.passes) == after
    assert set(fitted.disk) == {"evidence"}
    assert "curvature" in fitted.memory
    nothing = planned(queries=(), sets=0, factor_rows=())
    assert nothing.passes == ["1 over 6 rows"]
    assert set(nothing.memory) == {"batches"}
    tuned = planned(epochs=3)
    assert tuned.passes[0] == "3 over 6 rows to tune a proxy"
    assert next(iter(tuned.seconds)) == "tuning"


def test_scores_are_no_columns_where_none_are_kept() -> None:
    rows, layers = 6, total("llama", "layers")
    repsim, identity = planned(method="repsim"), planned(method="identity")
    assert repsim.disk["evidence"] == rows * 4 * (1 + 16 + layers * RANK**2)
    assert identity.disk["evidence"] - repsim.disk["evidence"] == rows * 4 * SETS


def test_times_are_positive_and_shared_by_processes() -> None:
    plan = planned()
    assert set(plan.seconds) == {
        "covariances",
        "eigendecompositions",
        "eigenvalues",
        "test inputs",
        "rows",
        "preconditioning",
    }
    assert all(0 < s < 60 and math.isfinite(s) for s in plan.seconds.values())
    assert planned(shard=Shard(0, 4)).device == "cpu, 4 processes"


def test_the_estimated_time_is_of_the_right_order() -> None:
    pairs = generated_reviews(100, seed=1)
    lm = tiny_causal([f"{text} {label}" for text, label in pairs], width=96)
    rows = encode(examples(pairs), lm, template="plain").examples
    modules, passes = linear_modules(lm.model), PassSettings()
    sets = {str(i): rows[:8] for i in range(SETS)}
    asked = [row for queries in sets.values() for row in queries]
    work = Work("ekfac", asked, SETS, rows[:40], 8)
    ratios = []
    # A busy machine may disturb one attempt or two.
    for _ in range(3):
        plan = make_plan(lm, rows, modules, passes, work, Path())
        start = time.perf_counter()
        queries = query_gradients(lm, sets, modules, passes)
        apply_curvature("ekfac", lm, rows[:40], modules, queries, passes)
        score_rows(lm, rows, modules, queries, passes, rank=8)
        took = time.perf_counter() - start
        ratios.append(sum(plan.seconds.values()) / took)
        if 1 / 5 < ratios[-1] < 5:
            return
    pytest.fail(f"estimates are {ratios} of what it took")


def test_what_does_not_fit_is_named_with_what_to_lower(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    plan = planned(limit=100)
    assert plan.memory_free == 100
    (problem,) = plan.problems()
    need = size(sum(plan.memory.values()))
    assert problem == (
        f"this scan needs {need} of memory and 0.0 MiB are free; most is for batches: "
        "lower --token-budget or --max-length, or give --checkpointing"
    )
    with pytest.raises(AssayError, match="most is for batches"):
        plan.check()
    enough = replace(plan, memory_free=sum(plan.memory.values()))
    assert enough.problems() == []
    enough.check()
    assert len(replace(enough, memory_free=enough.memory_free - 1).problems()) == 1


@pytest.mark.parametrize(
    ("largest", "lowers"),
    [
        ("test inputs", "--first-layers or --modules, or give --attribution repsim"),
        ("curvature", "--first-layers or --modules, or give --attribution identity"),
        ("batches", "--token-budget or --max-length, or give --checkpointing"),
    ],
)
def test_the_largest_part_is_the_one_to_lower(largest: str, lowers: str) -> None:
    plan = planned()
    memory = plan.memory | {largest: 50 * GIB}
    (problem,) = replace(plan, memory=memory, memory_free=GIB).problems()
    assert f"most is for {largest}: " in problem
    assert problem.endswith(lowers)


def test_a_full_disk_is_foreseen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("assay.scanning.cost.free_disk", lambda _: 10)
    plan = planned()
    (problem,) = plan.problems()
    assert "of disk space and 0.0 MiB are free; most is for factors: " in problem
    both = replace(plan, memory_free=0)
    assert len(both.problems()) == 2
    with pytest.raises(AssayError, match=r"of memory and .*; this scan needs .* disk"):
        both.check()


def test_every_part_has_advice() -> None:
    for method in ("ekfac", "identity", "diagonal", "datainf", "repsim"):
        plan = planned(method=method)
        assert set(plan.advice) >= {*plan.memory, *plan.disk}


def test_lines_say_it_all() -> None:
    plan = planned(limit=3 * GIB)
    rows, passes, time, memory, disk = plan.lines()
    assert rows == (
        f"6 rows, {plan.tokens} tokens, 14 linear layers of 0.0 M weights, on cpu"
    )
    assert passes.startswith("passes: 2 over 4 rows for the curvature; 1 over 14 test")
    assert time.startswith("time: about ")
    assert all(stage in time for stage in plan.seconds)
    assert "of 3.00 GiB free (batches 0.02 GiB, test inputs 0.2 MiB" in memory
    assert disk.startswith("disk: ")
    assert json.loads(json.dumps(asdict(plan)))["layers"] == 14


def test_sizes_and_durations_for_people() -> None:
    assert size(3 * GIB) == "3.00 GiB"
    assert size(5 * 2**20) == "5.0 MiB"
    assert [duration(s) for s in (0.01, 42.4, 100, 5900, 7200)] == [
        *("1 s", "42 s", "2 min", "98 min", "2.0 h")
    ]


def test_limits_of_a_container_count(monkeypatch: pytest.MonkeyPatch) -> None:
    files: dict[str, str] = {}
    read = Path.read_text

    def fake(path: Path, *more: object, **others: object) -> str:
        if str(path).startswith("/sys/fs/cgroup/"):
            if str(path) not in files:
                raise FileNotFoundError(path)
            return files[str(path)]
        return read(path, *more, **others)

    monkeypatch.setattr(Path, "read_text", fake)
    cpu = torch.device("cpu")
    whole = free_memory(cpu)
    assert whole > 10**6
    files["/sys/fs/cgroup/memory.max"] = "1000000\n"
    files["/sys/fs/cgroup/memory.current"] = "400000\n"
    assert free_memory(cpu) == 600_000
    files["/sys/fs/cgroup/memory.current"] = "1400000\n"
    assert free_memory(cpu) == 0
    files["/sys/fs/cgroup/memory.max"] = "max\n"
    assert free_memory(cpu) > 10**6


def test_disk_of_a_folder_that_is_not_there_yet(tmp_path: Path) -> None:
    there = free_disk(tmp_path)
    assert there > 0
    assert abs(free_disk(tmp_path / "not" / "yet") - there) < GIB


def test_nothing_is_written_by_planning(tmp_path: Path) -> None:
    planned(folder=tmp_path / "run")
    assert list(tmp_path.iterdir()) == []
