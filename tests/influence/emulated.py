"""Several processes played by threads: what each does, without what goes between."""

from __future__ import annotations

import copy
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any, TypeVar

from torch import Tensor
from torch.utils.checkpoint import set_checkpoint_early_stop

from assay.influence.sharding import Shard
from assay.models.language_model import LanguageModel

Found = TypeVar("Found")


class Table:
    """Where the threads put things down for each other."""

    def __init__(self, size: int) -> None:
        self.places: list[Any] = [None] * size
        self.barrier = threading.Barrier(size)

    def exchange(self, rank: int, thing: Any) -> list[Any]:
        self.places[rank] = thing
        self.barrier.wait(60)
        seen = list(self.places)
        self.barrier.wait(60)
        return seen


@dataclass(frozen=True)
class EmulatedShard(Shard):
    table: Table = field(default_factory=lambda: Table(1))

    def sum(self, tensor: Tensor) -> Tensor:
        parts = self.table.exchange(self.rank, tensor.clone())
        return tensor.copy_(sum(parts[1:], parts[0]))

    def broadcast(self, tensor: Tensor, source: int = 0) -> Tensor:
        parts = self.table.exchange(self.rank, tensor.clone())
        return tensor.copy_(parts[source % self.size])

    def broadcast_object(self, value: Any) -> Any:
        return copy.deepcopy(self.table.exchange(self.rank, value)[0])

    def gather_rows(self, rows: Tensor | None, width: int) -> list[Tensor]:
        # Sent by value: the next batch is measured into the same memory.
        sent = None if rows is None else rows.clone()
        found = [r for r in self.table.exchange(self.rank, sent) if r is not None]
        assert all(r.shape[1] == width for r in found)
        return found if self.is_main else []

    def wait(self) -> None:
        self.table.exchange(self.rank, None)


def emulated(
    size: int, lm: LanguageModel, work: Callable[[LanguageModel, Shard], Found]
) -> list[Found]:
    """Do some work as ``size`` processes would, each with a copy of the model."""
    table = Table(size)

    def one(rank: int) -> Found:
        own = LanguageModel(
            copy.deepcopy(lm.model), lm.tokenizer, lm.name, lm.is_encoder_decoder
        )
        try:
            return work(own, EmulatedShard(rank, size, table=table))
        except BaseException:
            table.barrier.abort()
            raise

    # Each pass sets torch's switch for all threads and puts back what it found, which
    # must then be the same for all.
    with set_checkpoint_early_stop(False), ThreadPoolExecutor(size) as pool:
        return list(pool.map(one, range(size)))
