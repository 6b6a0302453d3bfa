"""Splitting rows over processes and machines, and putting results together.

Every process holds the model and runs every P-th batch. Sums are added up through
gloo on the CPU, whatever the devices are: they are few and large, and one backend then
serves laptops, GPUs and clusters alike.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor

# Eigendecompositions and proxy tuning on one process keep the others waiting.
PATIENCE = timedelta(hours=24)


@dataclass(frozen=True)
class Shard:
    """One process's place among all.

    Attributes:
        rank: Number of this process.
        size: Number of processes.
        group: Process group for what goes between them; None when alone.
    """

    rank: int = 0
    size: int = 1
    group: Any = None

    @property
    def is_main(self) -> bool:
        """Whether this process writes results."""
        return self.rank == 0

    def turn(self, index: int) -> bool:
        """Whether piece ``index`` of some work is this process's."""
        return index % self.size == self.rank

    def mine(self, batches: Sequence[list[int]]) -> list[list[int]]:
        """Return the batches this process runs."""
        return list(batches[self.rank :: self.size])

    def sum(self, tensor: Tensor) -> Tensor:
        """Add up a tensor over all processes, in place."""
        if self.size > 1:
            # Bare memory is sent: eigenvectors come in columns, not rows.
            moved = tensor.cpu().contiguous()
            dist.all_reduce(moved, group=self.group)
            if moved is not tensor:
                tensor.copy_(moved)
        return tensor

    def broadcast(self, tensor: Tensor, source: int = 0) -> Tensor:
        """Send a tensor from the process whose turn ``source`` is, in place."""
        if self.size > 1:
            moved = tensor.cpu().contiguous()
            dist.broadcast(moved, source % self.size, group=self.group)
            if moved is not tensor:
                tensor.copy_(moved)
        return tensor

    def broadcast_object(self, value: Any) -> Any:
        """Send a small object from the main process."""
        if self.size == 1:
            return value
        box = [value]
        dist.broadcast_object_list(box, 0, group=self.group)
        return box[0]

    def gather_rows(self, rows: Tensor | None, width: int) -> list[Tensor]:
        """Bring every process's ``(b, width)`` float32 rows to the main process.

        Args:
            rows: This process's rows; None when it has none left to do.
            width: Columns.

        Returns:
            On the main process one tensor per process that had rows, in order of
            rank; on the others an empty list.
        """
        if self.size == 1:
            return [] if rows is None else [rows]
        mine = torch.empty(0, width) if rows is None else rows.float().cpu()
        counts = [torch.zeros(1, dtype=torch.int64) for _ in range(self.size)]
        dist.all_gather(counts, torch.tensor([len(mine)]), group=self.group)
        if not self.is_main:
            if len(mine):
                dist.send(mine.contiguous(), 0, group=self.group)
            return []
        found = [mine] if len(mine) else []
        for other in range(1, self.size):
            if int(counts[other]):
                found.append(torch.empty(int(counts[other]), width))
                dist.recv(found[-1], other, group=self.group)
        return found

    def wait(self) -> None:
        """Return when all processes have come here."""
        if self.size > 1:
            dist.barrier(group=self.group)


ALONE = Shard()


def this_shard() -> Shard:
    """Find this process's place from what ``accelerate launch`` or ``torchrun`` set.

    Returns:
        `ALONE` when no launcher was used.
    """
    if int(os.environ.get("WORLD_SIZE", "1")) < 2:
        return ALONE
    if torch.cuda.is_available():
        torch.cuda.set_device(int(os.environ.get("LOCAL_RANK", "0")))
    if not dist.is_initialized():
        dist.init_process_group("gloo", timeout=PATIENCE)
    return Shard(dist.get_rank(), dist.get_world_size(), dist.group.WORLD)
