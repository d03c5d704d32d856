"""Groups of processes joined by gloo on loopback, which wait for work between measurements."""

from __future__ import annotations

import multiprocessing
import tempfile
from collections.abc import Callable
from datetime import timedelta
from multiprocessing.connection import Connection
from types import TracebackType
from typing import Any

import torch
import torch.distributed as dist

from distributed_il.core.collectives import Collectives, DistributedCollectives, LocalCollectives

Work = Callable[..., Any]
"""Called on every rank as `work(collectives, memory, *arguments)`; `memory` is a dictionary that the rank keeps."""
_TIMEOUT = timedelta(seconds=120)


class RankGroup:
    """Some ranks, each a process of one thread; a context manager that ends them."""

    def __init__(self, world_size: int) -> None:
        """Starts the processes.

        Args:
            world_size: Ranks; a single one has no process group.
        """
        self.world_size = world_size
        spawn = multiprocessing.get_context("spawn")
        self._folder = tempfile.TemporaryDirectory()
        self._pipes: list[Connection] = []
        self._processes: list[Any] = []
        for rank in range(world_size):
            ours, theirs = spawn.Pipe()
            place = f"file://{self._folder.name}/rendezvous"
            process = spawn.Process(target=_serve, args=(theirs, rank, world_size, place), daemon=True)
            process.start()
            theirs.close()
            self._pipes.append(ours)
            self._processes.append(process)

    def run(self, work: Work, *arguments: Any) -> list[Any]:
        """Calls a function on every rank and returns what the ranks returned.

        Args:
            work: A function of a module.
            *arguments: Passed on.

        Raises:
            RuntimeError: A rank raised, or ended.
        """
        for pipe in self._pipes:
            pipe.send((work, arguments))
        found: list[Any] = []
        for rank, pipe in enumerate(self._pipes):
            try:
                error, value = pipe.recv()
            except EOFError as lost:
                raise RuntimeError(f"rank {rank} of {self.world_size} has ended") from lost
            if error is not None:
                raise RuntimeError(f"rank {rank} of {self.world_size}: {error}")
            found.append(value)
        return found

    def __enter__(self) -> RankGroup:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for pipe in self._pipes:
            pipe.close()  # a rank that waits for work ends
        for process in self._processes:
            if error is not None:
                process.terminate()
            process.join()
        self._folder.cleanup()


def _serve(pipe: Connection, rank: int, world_size: int, place: str) -> None:
    torch.set_num_threads(1)
    if world_size > 1:
        dist.init_process_group("gloo", place, _TIMEOUT, world_size=world_size, rank=rank)
    collectives: Collectives = DistributedCollectives() if world_size > 1 else LocalCollectives()
    memory: dict[str, Any] = {}
    while True:
        try:
            work, arguments = pipe.recv()
        except EOFError:
            break
        try:
            pipe.send((None, work(collectives, memory, *arguments)))
        except Exception as error:  # told to the process that asked
            pipe.send((f"{type(error).__name__}: {error}", None))
    memory.clear()
    if world_size > 1:
        dist.barrier()  # let go of a group amid a collective of another rank, and it may wait for ever
        dist.destroy_process_group()
