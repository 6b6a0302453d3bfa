"""Real processes for tests: forked from one that has the imports done already."""

from __future__ import annotations

import multiprocessing
import os
import signal
import socket
import traceback
from collections.abc import Callable
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import torch

from assay.cli import run
from assay.influence.store import DiskStore

# Forking this process would fork its autograd and OpenMP threads; the fork server
# has none. It starts with the first use and imports these once.
_context = multiprocessing.get_context("forkserver")
_context.set_forkserver_preload(
    ["assay.scanning.pipeline", "assay.models.tiny", __name__]
)

PATIENCE = 120
KILLED = -signal.SIGKILL


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


def _run(
    work: Callable[..., None],
    arguments: tuple[Any, ...],
    threads: int,
    environment: dict[str, str],
    trace: Path,
) -> None:
    os.environ.update(environment)
    torch.set_num_threads(threads)
    try:
        work(*arguments)
    except BaseException:
        trace.write_text(traceback.format_exc())
        # Other processes of the group may be waiting for this one.
        os._exit(1)


def start(
    folder: Path, work: Callable[..., None], *arguments: Any, processes: int = 1
) -> list[BaseProcess]:
    """Run a function of a test module in processes set up as torchrun does it."""
    port = str(free_port())
    started = []
    for rank in range(processes):
        environment = {
            "RANK": str(rank),
            "LOCAL_RANK": str(rank),
            "WORLD_SIZE": str(processes),
            "MASTER_ADDR": "127.0.0.1",
            "MASTER_PORT": port,
        }
        trace = folder / f"trace-{rank}.txt"
        trace.unlink(missing_ok=True)
        process = _context.Process(
            target=_run,
            args=(work, arguments, torch.get_num_threads(), environment, trace),
        )
        process.start()
        started.append(process)
    return started


def finish(folder: Path, started: list[BaseProcess]) -> list[int]:
    """Wait for processes; their exit statuses, once all have ended."""
    for process in started:
        process.join(PATIENCE)
    statuses = []
    for process in started:
        if process.exitcode is None:
            process.kill()
            process.join()
            statuses.append(-1000)
        else:
            statuses.append(process.exitcode)
    return statuses


def in_processes(
    folder: Path, work: Callable[..., None], *arguments: Any, processes: int = 1
) -> None:
    """Run a function in processes and fail with what any of them raised."""
    statuses = finish(folder, start(folder, work, *arguments, processes=processes))
    traces = [p.read_text() for p in sorted(folder.glob("trace-*.txt"))]
    assert statuses == [0] * processes, "\n".join([str(statuses), *traces])


def die() -> None:
    """End this process as the kernel's out-of-memory killer would."""
    os.kill(os.getpid(), signal.SIGKILL)


def command(words: list[str]) -> None:
    """Run an assay command; its status is this process's."""
    status = run(words)
    if status:
        raise SystemExit(status)


def killed_command(words: list[str], after: int) -> None:
    """Run a command that dies when it has stored so many batches."""
    write = DiskStore.write

    def write_or_die(self: DiskStore, batch: int, *rest: object) -> None:
        nonlocal after
        if after == 0:
            die()
        after -= 1
        write(self, batch, *rest)

    DiskStore.write = write_or_die
    command(words)
