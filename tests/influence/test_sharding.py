"""Several processes, real ones, give what one gives."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from assay.cli import run
from assay.influence.attribution import apply_curvature
from assay.influence.factors import fit_factors
from assay.influence.modules import linear_modules
from assay.influence.passes import PassSettings
from assay.influence.queries import query_gradients
from assay.influence.scores import evidence_columns, score_rows
from assay.influence.sharding import ALONE, Shard, this_shard
from assay.influence.store import DiskStore
from assay.models.encode import encode
from tests.conftest import Small
from tests.detectors.conftest import GEOMETRY
from tests.influence.conftest import KINDS, REVIEWS, examples
from tests.processes import (
    KILLED,
    command,
    finish,
    free_port,
    in_processes,
    killed_command,
    start,
)

# Processes, whole scans or a browser: more than a minute in all.
pytestmark = pytest.mark.slow

PATIENCE = 120


def everything(folder: Path, max_batch: int, store: bool = False) -> None:
    """Run each step of a scan that is split, and keep what the process has then."""
    shard = this_shard()
    lm = KINDS["llama"]([f"{t} {r}" for t, r in REVIEWS])
    rows = encode(examples(), lm, template="plain").examples
    modules = linear_modules(lm.model)
    passes = PassSettings(max_batch=max_batch)
    sets = {"one": rows[:3], "two": rows[3:4], "three": rows[2:]}
    factors = fit_factors(lm, rows, modules, passes, shard=shard)
    plain = query_gradients(lm, sets, modules, passes, shard=shard)
    single = query_gradients(lm, sets, modules, passes, per_query=True, shard=shard)
    queries = {
        method: apply_curvature(
            method,
            lm,
            rows,
            modules,
            {n: q.clone() for n, q in plain.items()},
            passes,
            shard=shard,
        )
        for method in ("ekfac", "diagonal")
    }
    kept = None
    if store:
        kept = DiskStore(
            folder / "store", "key", len(rows), evidence_columns(lm, modules, 3, 2)
        )
    found = score_rows(
        lm, rows, modules, queries["ekfac"], passes, rank=2, store=kept, shard=shard
    )
    torch.save(
        {
            "factors": {
                n: (f.basis_in, f.basis_out, f.eigenvalues) for n, f in factors.items()
            },
            "plain": plain,
            "single": single,
            **queries,
            "evidence": {n: torch.tensor(np.array(v)) for n, v in vars(found).items()},
        },
        folder / f"{shard.size}-{shard.rank}.pt",
    )


def curvature(factors: dict[str, tuple[torch.Tensor, ...]]) -> dict[str, torch.Tensor]:
    """What factors stand for, which does not depend on the eigenvectors' signs."""
    found = {}
    for name, (basis_in, basis_out, eigenvalues) in factors.items():
        basis = torch.kron(basis_out.contiguous(), basis_in.contiguous()).double()
        found[name] = basis * eigenvalues.flatten().double() @ basis.T
    return found


def same(found: dict[str, torch.Tensor], right: dict[str, torch.Tensor]) -> None:
    assert list(found) == list(right)
    for name, expected in right.items():
        scale = float(expected.abs().max())
        assert scale > 0
        off = float((found[name] - expected).abs().max())
        assert off < 1e-4 * scale, f"{name} is off by {off / scale:.2g} of its largest"


@pytest.fixture(scope="module", params=[2, 4], ids=["3 batches", "2 batches"])
def max_batch(request: pytest.FixtureRequest) -> int:
    return int(request.param)


@pytest.fixture(scope="module")
def alone(max_batch: int, tmp_path_factory: pytest.TempPathFactory) -> dict:
    folder = tmp_path_factory.mktemp("alone")
    everything(folder, max_batch)
    return torch.load(folder / "1-0.pt")


@pytest.mark.parametrize("processes", [2, 3])
def test_processes_together_give_what_one_gives(
    processes: int, max_batch: int, alone: dict, tmp_path: Path
) -> None:
    # With three processes and two batches, one of them has nothing to do.
    in_processes(tmp_path, everything, tmp_path, max_batch, processes=processes)
    found = [torch.load(tmp_path / f"{processes}-{i}.pt") for i in range(processes)]
    for each in found:
        same(curvature(each["factors"]), curvature(alone["factors"]))
        for part in ("plain", "single", "ekfac", "diagonal"):
            same(each[part], alone[part])
    same(found[0]["evidence"], alone["evidence"])


def test_rows_of_all_processes_come_together_in_one_store(
    alone: dict, max_batch: int, tmp_path: Path
) -> None:
    in_processes(tmp_path, everything, tmp_path, max_batch, True, processes=2)
    found = torch.load(tmp_path / "2-0.pt")["evidence"]
    same(found, alone["evidence"])
    lines = (tmp_path / "store" / "done.jsonl").read_text().splitlines()
    assert len(lines) == -(-6 // max_batch)


def test_without_a_launcher_a_process_is_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    assert this_shard() is ALONE
    monkeypatch.setenv("WORLD_SIZE", "1")
    assert this_shard() is ALONE


def test_every_batch_and_turn_is_one_process_alone() -> None:
    shards = [Shard(rank, 3) for rank in range(3)]
    batches = [[i] for i in range(8)]
    shares = [s.mine(batches) for s in shards]
    assert sorted(b for share in shares for b in share) == batches
    assert [len(share) for share in shares] == [3, 3, 2]
    for index in range(7):
        assert [s.turn(index) for s in shards].count(True) == 1
    assert [s.is_main for s in shards] == [True, False, False]


def test_alone_everything_stays_where_it_is() -> None:
    tensor = torch.ones(2, 3)
    assert ALONE.sum(tensor) is tensor
    assert ALONE.broadcast(tensor) is tensor
    assert ALONE.broadcast_object(tensor) is tensor
    assert ALONE.gather_rows(tensor, 3) == [tensor]
    assert ALONE.gather_rows(None, 3) == []
    ALONE.wait()


def exchange(folder: Path) -> None:
    shard = this_shard()
    rank, size = shard.rank, shard.size
    expected = torch.arange(6.0).view(2, 3).T
    turned = expected * (rank + 1)
    # Eigenvectors lie in memory column by column, what receives them row by row.
    turned = turned if rank % 2 else turned.contiguous()
    assert turned.is_contiguous() == (rank % 2 == 0)
    assert torch.equal(shard.sum(turned.clone()), expected * 6)
    for source in range(4):
        sent = shard.broadcast(turned.clone(), source=source)
        assert torch.equal(sent, expected * (source % size + 1))
    assert shard.broadcast_object({"from": rank}) == {"from": 0}
    rows = None if rank == 1 else torch.full((rank + 1, 2), float(rank))
    found = shard.gather_rows(rows, 2)
    if rank == 0:
        assert [f.tolist() for f in found] == [[[0, 0]], [[2, 2]] * 3]
    else:
        assert found == []
    assert shard.gather_rows(None, 2) == []
    shard.wait()
    (folder / f"through-{rank}").write_text("")


def test_what_goes_between_processes_arrives(tmp_path: Path) -> None:
    in_processes(tmp_path, exchange, tmp_path, processes=3)
    assert len(list(tmp_path.glob("through-*"))) == 3


# accelerate's --cpu starts a single process, whatever --num_processes says; its
# --multi_gpu starts as many as asked, on machines without a GPU too.
LAUNCH = [
    *("accelerate.commands.launch", "--multi_gpu", "--num_processes", "2"),
    *("--num_machines", "1", "--mixed_precision", "no", "--dynamo_backend", "no"),
]


def tables_agree(one: Path, other: Path) -> None:
    right, found = (pd.read_parquet(p / "scores.parquet") for p in (one, other))
    assert list(found.columns) == list(right.columns)
    assert found["id"].equals(right["id"])
    assert found["flagged"].equals(right["flagged"])
    assert right["flagged"].any()
    # FastICA does not converge on noise, and there makes much of rounding errors, which
    # differ with the number of threads: what it reads is compared below.
    fastica = [f"score.{name}" for name in GEOMETRY]
    for column in right.filter(like="score.").drop(columns=fastica):
        values = right[column].to_numpy()
        off = np.abs(found[column].to_numpy() - values).max()
        assert off <= 1e-3 * np.abs(values).max(), column
    for name in ("features", "hidden", "losses", "scores"):
        values, others = (
            np.load(next(p.glob(f"evidence-*/{name}.npy"))) for p in (one, other)
        )
        assert np.abs(others - values).max() < 1e-3 * np.abs(values).max(), name


# Seven batches of rows, three of the rows for the curvature, two of each query set.
BATCHES = ["--token-budget", "170"]


@pytest.fixture(scope="module")
def single(small: Small, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("single") / "run"
    assert run(small.scan_words(out, *BATCHES)) == 1
    return out


def test_a_launched_scan_gives_what_one_process_gives(
    small: Small, single: Path, tmp_path: Path
) -> None:
    out = tmp_path / "run"
    words = [*LAUNCH, "--main_process_port", str(free_port()), "-m", "assay"]
    done = subprocess.run(
        [sys.executable, "-m", *words, *small.scan_words(out, *BATCHES)],
        capture_output=True,
        text=True,
        timeout=PATIENCE,
    )
    assert done.returncode == 0, done.stderr
    assert "on cpu, 2 processes" in done.stderr
    # One voice is enough.
    assert done.stderr.count("rows flagged by voting") == 1
    tables_agree(single, out)


@pytest.mark.parametrize(("before", "after"), [(2, 3), (3, 1)])
def test_a_killed_scan_goes_on_with_another_number_of_processes(
    before: int, after: int, small: Small, single: Path, tmp_path: Path
) -> None:
    out = tmp_path / "run"
    words = small.scan_words(out, *BATCHES)
    statuses = finish(
        tmp_path, start(tmp_path, killed_command, words, 3, processes=before)
    )
    assert statuses[0] == KILLED
    assert 0 not in statuses
    assert not (out / "scores.parquet").exists()
    (log,) = out.glob("evidence-*/done.jsonl")
    done = log.read_text().splitlines()
    assert len(done) == 3
    if after == 1:
        assert run(words) == 1
    else:
        in_processes(tmp_path, command, words, processes=after)
    tables_agree(single, out)
    # Only what was missing has been measured again.
    assert log.read_text().splitlines()[:3] == done
    assert "3 of 7 batches are finished already" in (out / "log.txt").read_text()


def command_of_its_own_folder(words: list[str], out: Path) -> None:
    command([*words, "--out", str(out / os.environ["RANK"])])


def test_only_the_first_process_needs_the_run_folder(
    small: Small, single: Path, tmp_path: Path
) -> None:
    words = small.scan_words(tmp_path, *BATCHES)
    folders = tmp_path / "machines"
    in_processes(tmp_path, command_of_its_own_folder, words, folders, processes=2)
    assert [p.name for p in folders.iterdir()] == ["0"]
    tables_agree(single, folders / "0")


def test_finished_evidence_is_reused_by_any_number_of_processes(
    small: Small, single: Path, tmp_path: Path
) -> None:
    out = tmp_path / "run"
    shutil.copytree(single, out)
    words = small.scan_words(out, *BATCHES)
    in_processes(tmp_path, command, words, processes=2)
    assert "reusing the evidence" in (out / "log.txt").read_text()
    assert json.loads((out / "summary.json").read_text())["reused"]
    tables_agree(single, out)


def test_one_process_tunes_the_proxy_that_all_load(
    small: Small, tmp_path: Path
) -> None:
    words = ["scan", str(small.rows), "--base-model", str(small.model)]
    words += ["--epochs", "1", "--rank", "2", "--no-verify", *BATCHES]
    alone, together = tmp_path / "alone", tmp_path / "together"
    assert run([*words, "--out", str(alone)]) in (0, 1)
    out = ["--out", str(together)]
    in_processes(tmp_path, command, [*words, *out], processes=2)
    weights = "proxy/model.safetensors"
    assert (together / weights).read_bytes() == (alone / weights).read_bytes()
    losses = [
        pd.read_parquet(o / "scores.parquet")["score.high-loss"]
        for o in (alone, together)
    ]
    np.testing.assert_allclose(losses[1], losses[0], rtol=1e-4)


def test_every_process_of_a_machine_takes_its_own_gpu(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    taken: list[int] = []
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "set_device", taken.append)
    monkeypatch.setattr(torch.distributed, "is_initialized", lambda: True)
    monkeypatch.setattr(torch.distributed, "get_rank", lambda: 11)
    monkeypatch.setattr(torch.distributed, "get_world_size", lambda: 16)
    for name, value in {"WORLD_SIZE": "16", "RANK": "11", "LOCAL_RANK": "3"}.items():
        monkeypatch.setenv(name, value)
    shard = this_shard()
    assert taken == [3]
    assert (shard.rank, shard.size) == (11, 16)


def test_several_processes_need_one_run_folder(
    small: Small, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(
        "assay.influence.sharding.this_shard", lambda: Shard(rank=0, size=2)
    )
    assert run(["scan", str(small.rows), "--model", str(small.model)]) == 2
    assert "several processes need one run folder: give --out" in (
        capsys.readouterr().err
    )
