"""What the ranks of a run do together: collectives as a protocol, sums in rank order, errors, exchanges of records."""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from typing import Any, Protocol

import numpy as np
import torch
import torch.distributed as dist
from numpy.typing import NDArray
from torch import Tensor

from distributed_il.core.radix_sort import sort_into_groups

# torch 2.13 gave it a new name, and warns under the old one.
_NAME = "all_gather_single" if hasattr(dist, "all_gather_single") else "all_gather_into_tensor"
_gather_into: Callable[[Tensor, Tensor], object] = getattr(dist, _NAME)


class Collectives(Protocol):
    """What the ranks of a run do together. Every rank must make the same calls in the same order.

    Attributes:
        rank: This process, 0 to world_size − 1.
        world_size: Processes in the run.
        seconds: Time spent inside collectives so far, waiting for slower ranks included, in seconds.
        sent_bytes: Bytes that this rank has handed to collectives so far. A tensor for all ranks counts once; of an
            all_to_all, the parts for other ranks count, those of a size exchange included.
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

    def all_to_all(self, parts: Sequence[Tensor], counts: Sequence[int] | None = None) -> list[Tensor]:
        """Sends `parts[r]` to rank r and returns what each rank has sent here, in rank order.

        Args:
            parts: One tensor [rows, ...] for each rank; on all ranks of one dtype and one shape behind the first
                dimension, which may differ and may be 0.
            counts: Rows that arrive from each rank, where the caller knows them; None exchanges them first.

        Returns:
            One tensor [counts[r], ...] from each rank r.

        Raises:
            ValueError: `parts` or `counts` do not name every rank once.
        """
        ...

    def barrier(self) -> None:
        """Returns once every rank has called it."""
        ...


class MeteredCollectives:
    """Counts what the collectives of a rank take."""

    def __init__(self) -> None:
        self.seconds = 0.0
        self.sent_bytes = 0

    def _meter(self, started: float, *sent: Tensor) -> None:
        self.seconds += time.perf_counter() - started
        self.sent_bytes += sum(tensor.numel() * tensor.element_size() for tensor in sent)


class LocalCollectives(MeteredCollectives):
    """One process: every reduction is the identity."""

    rank = 0
    world_size = 1

    def all_gather(self, tensor: Tensor) -> Tensor:
        return tensor.unsqueeze(0)

    def all_reduce_sum(self, tensor: Tensor) -> Tensor:
        return tensor

    def all_to_all(self, parts: Sequence[Tensor], counts: Sequence[int] | None = None) -> list[Tensor]:
        check_parts(1, parts, counts)
        return list(parts)

    def barrier(self) -> None:
        return


class DistributedCollectives(MeteredCollectives):
    """The default process group of torch.distributed, gloo or NCCL, set up by the caller."""

    def __init__(self) -> None:
        super().__init__()
        self.rank = dist.get_rank()
        self.world_size = dist.get_world_size()

    def all_gather(self, tensor: Tensor) -> Tensor:
        started = time.perf_counter()
        gathered = tensor.new_empty((self.world_size * tensor.numel(),))
        _gather_into(gathered, tensor.contiguous().view(-1))
        self._meter(started, tensor)
        return gathered.view(self.world_size, *tensor.shape)

    def all_reduce_sum(self, tensor: Tensor) -> Tensor:
        started = time.perf_counter()
        dist.all_reduce(tensor)
        self._meter(started, tensor)
        return tensor

    def all_to_all(self, parts: Sequence[Tensor], counts: Sequence[int] | None = None) -> list[Tensor]:
        check_parts(self.world_size, parts, counts)
        rows = [part.shape[0] for part in parts]
        if counts is None:
            sizes = torch.tensor(rows, device=parts[0].device).split(1)
            counts = torch.cat(self.all_to_all(sizes, [1] * self.world_size)).tolist()
        started = time.perf_counter()
        arrived = parts[0].new_empty((sum(counts), *parts[0].shape[1:]))
        dist.all_to_all_single(arrived, torch.cat(tuple(parts)), list(counts), rows)
        self._meter(started, *parts[: self.rank], *parts[self.rank + 1 :])
        return list(arrived.split(list(counts)))

    def barrier(self) -> None:
        started = time.perf_counter()
        dist.barrier()
        self._meter(started)


def check_parts(world_size: int, parts: Sequence[Tensor], counts: Sequence[int] | None) -> None:
    """Raises ValueError unless parts, and counts where given, are one for each rank."""
    if len(parts) != world_size or (counts is not None and len(counts) != world_size):
        found = f"{len(parts)} parts" + ("" if counts is None else f" and {len(counts)} counts")
        raise ValueError(f"{found} for {world_size} ranks; it takes one for each")


def sum_over_ranks(collectives: Collectives, values: Tensor) -> Tensor:
    """Sums float64 [k] over ranks in rank order, so that every rank holds the same bits; the result is on the CPU."""
    if values.dtype != torch.float64 or values.dim() != 1:
        raise ValueError(f"values must be float64 [k], not {values.dtype} {tuple(values.shape)}")
    return collectives.all_gather(values).cpu().sum(dim=0)


class FirstError:
    """The first error of this rank's own work: `error`, None as long as all went well."""

    def __init__(self) -> None:
        self.error: Exception | None = None

    @contextmanager
    def kept(self) -> Generator[None]:
        """Keeps an error of the enclosed code, which must not call collectives."""
        try:
            yield
        except Exception as raised:
            self.error = self.error or raised

    def raise_together(self, what: str, collectives: Collectives, device: torch.device) -> None:
        """Raises on all ranks if one of them has kept an error; all call it together.

        Raises:
            Exception: The error that this rank has kept.
            RuntimeError: Another rank has kept one; the message says `what` could not be done.
        """
        flag = torch.tensor(int(self.error is not None), device=device)
        failed = collectives.all_gather(flag).nonzero().flatten().tolist()
        if self.error is not None:
            raise self.error
        if failed:
            raise RuntimeError(f"{what} on ranks {failed}")


def records_of(columns: dict[str, NDArray[Any]]) -> NDArray[Any]:
    """Joins columns, arrays [n] by name, into packed records [n], so that one exchange carries them all."""
    dtype = np.dtype([(name, values.dtype) for name, values in columns.items()])
    records = np.empty(next(iter(columns.values())).size, dtype)
    for name, values in columns.items():
        records[name] = values
    return records


def send_to_owners(
    records: NDArray[Any], owners: NDArray[Any], *, collectives: Collectives, device: torch.device
) -> NDArray[Any]:
    """Sends each record to its owner; all ranks call it together.

    Args:
        records: Structured array [n], of one dtype on all ranks.
        owners: Integers [n], the rank of each record.
        collectives: The ranks; up to 2**16 of them.
        device: Where collectives work.

    Returns:
        The records that this rank owns, by sender and, of one sender, in the order sent.
    """
    if collectives.world_size == 1:
        return records
    order, borders = sort_into_groups(owners, collectives.world_size)
    return send_slices(records[order], borders, collectives=collectives, device=device)


def send_slices(
    records: NDArray[Any], borders: NDArray[np.int64], *, collectives: Collectives, device: torch.device
) -> NDArray[Any]:
    """Sends `records[borders[r] : borders[r + 1]]` to rank r; all ranks call it together.

    Args:
        records: Structured array [n], of one dtype on all ranks.
        borders: int64 [world_size + 1], ascending from 0 to n.
        collectives: The ranks.
        device: Where collectives work.

    Returns:
        The records that have arrived here, by sender.
    """
    rows = torch.from_numpy(records.view(np.uint8).reshape(records.size, records.dtype.itemsize)).to(device)
    arrived = collectives.all_to_all(rows.split(np.diff(borders).tolist()))
    return torch.cat(arrived).cpu().numpy().reshape(-1).view(records.dtype)
