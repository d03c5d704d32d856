"""The few reductions that the core needs, as a protocol: within one process, or over torch.distributed."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Protocol

import torch
import torch.distributed as dist
from torch import Tensor

# torch 2.13 gave it a new name, and warns under the old one.
_NAME = "all_gather_single" if hasattr(dist, "all_gather_single") else "all_gather_into_tensor"
_gather_into: Callable[[Tensor, Tensor], object] = getattr(dist, _NAME)


class Collectives(Protocol):
    """What the ranks of a run do together. Every rank must make the same calls in the same order.

    Attributes:
        rank: This process, 0 to world_size − 1.
        world_size: Processes in the run.
        seconds: Time spent inside collectives so far, waiting for slower ranks included, in seconds.
        sent_bytes: Bytes that this rank has handed to collectives so far.
    """

    rank: int
    world_size: int
    seconds: float
    sent_bytes: int

    def all_gather(self, tensor: Tensor) -> Tensor:
        """Stacks the tensors of all ranks, which must agree in shape and dtype: [...] → [world_size, ...]."""
        ...

    def all_reduce_sum(self, tensor: Tensor) -> Tensor:
        """Sums over ranks in place and returns the tensor, bit-identical on every rank."""
        ...

    def barrier(self) -> None:
        """Returns once every rank has called it."""
        ...


class LocalCollectives:
    """One process: every reduction is the identity."""

    rank = 0
    world_size = 1

    def __init__(self) -> None:
        self.seconds = 0.0
        self.sent_bytes = 0

    def all_gather(self, tensor: Tensor) -> Tensor:
        return tensor.unsqueeze(0)

    def all_reduce_sum(self, tensor: Tensor) -> Tensor:
        return tensor

    def barrier(self) -> None:
        return


class DistributedCollectives:
    """The default process group of torch.distributed, gloo or NCCL, set up by the caller."""

    def __init__(self) -> None:
        self.rank = dist.get_rank()
        self.world_size = dist.get_world_size()
        self.seconds = 0.0
        self.sent_bytes = 0

    def all_gather(self, tensor: Tensor) -> Tensor:
        started = time.perf_counter()
        gathered = tensor.new_empty((self.world_size * tensor.numel(),))
        _gather_into(gathered, tensor.contiguous().view(-1))
        self._account(started, tensor)
        return gathered.view(self.world_size, *tensor.shape)

    def all_reduce_sum(self, tensor: Tensor) -> Tensor:
        started = time.perf_counter()
        dist.all_reduce(tensor)
        self._account(started, tensor)
        return tensor

    def barrier(self) -> None:
        started = time.perf_counter()
        dist.barrier()
        self._account(started, None)

    def _account(self, started: float, tensor: Tensor | None) -> None:
        self.seconds += time.perf_counter() - started
        if tensor is not None:
            self.sent_bytes += tensor.numel() * tensor.element_size()


def sum_over_ranks(collectives: Collectives, values: Tensor) -> Tensor:
    """Sums float64 values over ranks in rank order, so that every rank holds the same bits.

    Args:
        collectives: The ranks.
        values: float64 [k], this rank's part.

    Returns:
        float64 [k], on the CPU.
    """
    if values.dtype != torch.float64 or values.dim() != 1:
        raise ValueError(f"values must be float64 [k], not {values.dtype} {tuple(values.shape)}")
    return collectives.all_gather(values).cpu().sum(dim=0)
