"""Several ranks as threads of one process: collectives without processes, for what needs no DDP."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

import torch
from torch import Tensor

from distributed_il.core.collectives import check_parts

T = TypeVar("T")


class ThreadCollectives:
    """One rank; each collective waits for all, and all read what all have left on the table."""

    def __init__(self, rank: int, world_size: int, barrier: threading.Barrier, table: list[Any]) -> None:
        self.rank, self.world_size = rank, world_size
        self.seconds, self.sent_bytes = 0.0, 0
        self._barrier, self._table = barrier, table

    def all_gather(self, tensor: Tensor) -> Tensor:
        self.sent_bytes += tensor.numel() * tensor.element_size()
        self._table[self.rank] = tensor.clone()
        self._barrier.wait(timeout=60)
        gathered = torch.stack(self._table)
        self._barrier.wait(timeout=60)
        return gathered

    def all_reduce_sum(self, tensor: Tensor) -> Tensor:
        return tensor.copy_(self.all_gather(tensor).sum(dim=0))

    def all_to_all(self, parts: Sequence[Tensor], counts: Sequence[int] | None = None) -> list[Tensor]:
        check_parts(self.world_size, parts, counts)
        others = [part for rank, part in enumerate(parts) if rank != self.rank]
        self.sent_bytes += sum(part.numel() * part.element_size() for part in others)
        if counts is None:
            self.sent_bytes += 8 * len(others)
        self._table[self.rank] = [part.clone() for part in parts]
        self._barrier.wait(timeout=60)
        arrived = [sent[self.rank] for sent in self._table]
        self._barrier.wait(timeout=60)
        assert counts is None or list(counts) == [part.shape[0] for part in arrived]
        return arrived

    def barrier(self) -> None:
        self._barrier.wait(timeout=60)


def run_on_threads(world_size: int, function: Callable[[ThreadCollectives], T]) -> list[T]:
    """Calls `function(collectives)` on every rank and returns what the ranks returned; the first error is raised."""
    barrier = threading.Barrier(world_size)
    table: list[Any] = [None] * world_size

    def rank_of(rank: int) -> T:
        try:
            return function(ThreadCollectives(rank, world_size, barrier, table))
        except BaseException:
            barrier.abort()  # nobody waits for a rank that is gone
            raise

    with ThreadPoolExecutor(max_workers=world_size) as pool:
        futures = [pool.submit(rank_of, rank) for rank in range(world_size)]
        errors = [future.exception() for future in futures]
        for error in sorted(filter(None, errors), key=lambda error: isinstance(error, threading.BrokenBarrierError)):
            raise error
        return [future.result() for future in futures]
