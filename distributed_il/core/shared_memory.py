"""Collectives of ranks on one machine: each leaves its tensor in memory that all have mapped, and reads the others'."""

from __future__ import annotations

import math
import mmap
import os
import secrets
import socket
import struct
import time
import weakref
from collections.abc import Mapping, Sequence

import torch
import torch.distributed as dist
from torch import Tensor

from distributed_il.core.collectives import (
    Collectives,
    DistributedCollectives,
    LocalCollectives,
    MeteredCollectives,
    check_parts,
)

LEAST_AREA_BYTES = 1 << 20
_ALIGNED_BYTES = 64
_NAME_BYTES = 16
_HELLO = struct.Struct("=q")  # the rank that greets
_TOLD = struct.Struct("=3q")  # bytes of the sender's area, where the receiver's part begins in it, rows of the part
_TIMEOUT = struct.Struct("@ll")  # seconds and microseconds


def join_ranks(timeout_s: float) -> Collectives:
    """Returns the collectives of the default process group; all ranks call it together.

    They go through memory where the group is gloo's and all ranks reach one another's sockets, as on one machine, and
    through torch.distributed elsewhere. A rank waits `timeout_s` seconds for another one in memory; torch.distributed
    has its own limit.
    """
    group = DistributedCollectives()
    if group.world_size == 1:
        return LocalCollectives()
    if dist.get_backend() != "gloo":
        return group
    links = _link(group)
    return group if links is None else NodeCollectives(group.rank, links, timeout_s)


class NodeCollectives(MeteredCollectives):
    """`Collectives` through memory, for tensors on the CPU.

    A rank writes into one of two areas of its own, in turns, tells the others where through sockets, and reads what
    they tell of. Who hears of a rank's collective k + 1 knows that it has read all of collective k, so that what was
    written for k may be written over for k + 2.
    """

    def __init__(self, rank: int, links: Mapping[int, socket.socket], timeout_s: float) -> None:
        """Hands the areas out over a connected Unix socket to each other rank; all ranks do so together."""
        super().__init__()
        self.rank, self.world_size = rank, len(links) + 1
        self._links, self._timeout_s, self._turn = dict(sorted(links.items())), timeout_s, 0
        self._own = [_Area(os.memfd_create("distributed-il")) for _ in range(2)]
        for link in self._links.values():
            link.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, _TIMEOUT.pack(max(round(timeout_s), 1), 0))
            socket.send_fds(link, [b"\0"], [area.file for area in self._own])
        self._others = {
            other: [_Area(file) for file in socket.recv_fds(link, 1, 2)[1]] for other, link in self._links.items()
        }
        files = [area.file for pair in (self._own, *self._others.values()) for area in pair]
        weakref.finalize(self, _close, list(self._links.values()), files)

    def all_gather(self, tensor: Tensor) -> Tensor:
        started = time.perf_counter()
        self._share(tensor)
        gathered = tensor.new_empty((self.world_size, *tensor.shape))
        gathered[self.rank].copy_(tensor)
        for other in self._links:
            gathered[other].view(-1).copy_(self._hear(other, tensor.new_empty(0), tensor.numel()))
        self._end(started, tensor)
        return gathered

    def all_reduce_sum(self, tensor: Tensor) -> Tensor:
        started = time.perf_counter()
        self._share(tensor)
        parts = {other: self._hear(other, tensor.new_empty(0), tensor.numel()) for other in self._links}
        parts[self.rank] = tensor.reshape(-1)
        total = parts[0].clone()
        for rank in range(1, self.world_size):  # in rank order, so that all ranks hold the same bits
            total += parts[rank]
        tensor.copy_(total.view_as(tensor))
        self._end(started, tensor)
        return tensor

    def all_to_all(self, parts: Sequence[Tensor], counts: Sequence[int] | None = None) -> list[Tensor]:
        check_parts(self.world_size, parts, counts)
        started = time.perf_counter()
        starts = self._own[self._turn].write([part for rank, part in enumerate(parts) if rank != self.rank])
        for other, start in zip(self._links, starts, strict=True):
            self._tell(other, start, parts[other].shape[0])
        arrived = list(parts)
        for other in self._links:
            arrived[other] = self._hear(other, parts[0][:0], counts[other] if counts else None).clone()
        self._end(started, *parts[: self.rank], *parts[self.rank + 1 :])
        if counts is None:
            self.sent_bytes += 8 * len(self._links)
        return arrived

    def barrier(self) -> None:
        self.all_gather(torch.empty(0))

    def _share(self, tensor: Tensor) -> None:
        """Leaves a tensor for all others."""
        self._own[self._turn].write([tensor])
        for other in self._links:
            self._tell(other, 0, tensor.numel())

    def _tell(self, other: int, start: int, rows: int) -> None:
        try:
            self._links[other].sendall(_TOLD.pack(self._own[self._turn].size, start, rows))
        except OSError as error:
            raise RuntimeError(f"rank {other} has ended") from error

    def _hear(self, other: int, like: Tensor, rows: int | None) -> Tensor:
        """Waits for a rank and returns what it has left here: a view, to be read before the next collective.

        `like` tells dtype and shape behind the first dimension; `rows` that are due are None for any number.
        """
        try:
            told = self._links[other].recv(_TOLD.size, socket.MSG_WAITALL)
        except BlockingIOError as error:
            raise RuntimeError(f"rank {other} has not come within {self._timeout_s:,.0f} s") from error
        except OSError:
            told = b""
        if len(told) < _TOLD.size:
            raise RuntimeError(f"rank {other} has ended")
        size, start, found = _TOLD.unpack(told)
        if rows is not None and found != rows:
            raise RuntimeError(f"rank {other} has sent {found} rows where {rows} are due")
        return self._others[other][self._turn].read(size, start, (found, *like.shape[1:]), like.dtype)

    def _end(self, started: float, *sent: Tensor) -> None:
        """Ends a collective, in which each other rank was told and heard once."""
        self._turn = 1 - self._turn
        self._meter(started, *sent)


class _Area:
    """Memory that ranks share: a file without a name, which its owner makes longer as needed and never shorter."""

    def __init__(self, file: int) -> None:
        self.file, self.size = file, 0
        self._bytes = torch.empty(0, dtype=torch.uint8)

    def write(self, parts: Sequence[Tensor]) -> list[int]:
        """Lays tensors end to end; returns where each begins."""
        starts, end = [], 0
        for part in parts:
            starts.append(end)
            end += part.numel() * part.element_size()
            end += -end % _ALIGNED_BYTES
        if end > self.size:
            size = max(LEAST_AREA_BYTES, 1 << (end - 1).bit_length())
            os.ftruncate(self.file, size)
            self._map(size)
        for start, part in zip(starts, parts, strict=True):
            self._view(start, part.shape, part.dtype).copy_(part)
        return starts

    def read(self, size: int, start: int, shape: Sequence[int], dtype: torch.dtype) -> Tensor:
        """A view of what its owner has written, where the owner has made it `size` bytes long."""
        if size > self.size:
            self._map(size)
        return self._view(start, shape, dtype)

    def _map(self, size: int) -> None:
        self._bytes = torch.frombuffer(mmap.mmap(self.file, size), dtype=torch.uint8)
        self.size = size

    def _view(self, start: int, shape: Sequence[int], dtype: torch.dtype) -> Tensor:
        stop = start + math.prod(shape) * dtype.itemsize
        return self._bytes[start:stop].view(dtype).view(tuple(shape))


def _link(group: Collectives) -> dict[int, socket.socket] | None:
    """A socket to each other rank, by rank; None on all ranks if one can't reach another."""
    links: dict[int, socket.socket] = {}
    with socket.socket(socket.AF_UNIX) as listener:
        # A name without a file: there is none to be left behind, and it is known within one network namespace alone.
        name = secrets.token_bytes(_NAME_BYTES)
        listener.bind(b"\0" + name)
        listener.listen(group.world_size)
        names = group.all_gather(torch.tensor(list(name), dtype=torch.uint8))
        for other in range(group.rank):
            link = socket.socket(socket.AF_UNIX)
            try:
                link.connect(b"\0" + bytes(names[other].tolist()))
            except OSError:
                link.close()
                break
            link.sendall(_HELLO.pack(group.rank))
            links[other] = link
        reached = len(links) == group.rank
        if not bool(group.all_gather(torch.tensor(reached)).all()):
            _close(list(links.values()), [])
            return None
        while len(links) < group.world_size - 1:
            link, _ = listener.accept()
            links[_HELLO.unpack(link.recv(_HELLO.size, socket.MSG_WAITALL))[0]] = link
    return links


def _close(links: Sequence[socket.socket], files: Sequence[int]) -> None:
    for link in links:
        link.close()
    for file in files:
        os.close(file)
