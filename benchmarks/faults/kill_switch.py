"""Kills a run without Ray at any point: between two collectives, two steps, two operations on files."""

from __future__ import annotations

import inspect
import threading
from collections import Counter
from collections.abc import Callable, Generator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Self, TypeVar
from unittest import mock

import torch
from pyarrow import fs as pafs
from torch import Tensor

import distributed_il.core.files
import distributed_il.training.checkpoint
from distributed_il.core.collectives import check_parts

T = TypeVar("T")
PLACES = {
    "decide_together": "candidates",
    "step": "step",
    "_checkpoint": "checkpoint",
    "_validate": "validation",
    "_finish": "results",
    "write_beginning": "beginning",
    "_resume": "resuming",
}
"""Where a run can be killed, by the innermost function of the trainer that is under way."""
ELSEWHERE = "between steps"
_WAIT_S = 60.0


class Killed(BaseException):
    """The end of a process, of which the program hears nothing: no `except Exception` catches it."""


@dataclass(frozen=True, slots=True)
class KillPoint:
    """The n-th point of one kind that a rank passes, counted from the start of its process."""

    rank: int
    place: str
    number: int


class KillSwitch:
    """Every rank calls it at all points where it might be killed.

    Attributes:
        seen: Points passed so far, by rank and place.
        fell: Whether the rank was killed.
    """

    def __init__(self, point: KillPoint | None = None) -> None:
        """Sets the point where a rank dies; None for a run without a kill."""
        self.seen: Counter[tuple[int, str]] = Counter()
        self.fell = False
        self._point = point
        self._thread = threading.local()

    def start_rank(self, rank: int) -> None:
        """Says that this thread is a rank."""
        self._thread.rank = rank

    def __call__(self) -> None:
        """Passes a point.

        Raises:
            Killed: It is the one to die at.
        """
        rank = getattr(self._thread, "rank", None)
        if rank is None:  # a thread that reads ahead
            return
        here = (rank, _place())
        self.seen[here] += 1
        if self._point == KillPoint(*here, self.seen[here]):
            self.fell = True
            raise Killed


def _place() -> str:
    frame = inspect.currentframe()
    while frame is not None:
        place = PLACES.get(frame.f_code.co_name)
        if place is not None:
            return place
        frame = frame.f_back
    return ELSEWHERE


class KillableCollectives:
    """A rank that is a thread; before and after each collective it may be killed, and then the others' calls fail."""

    def __init__(self, rank: int, switch: KillSwitch, barrier: threading.Barrier, table: list[Any]) -> None:
        self.rank, self.world_size = rank, len(table)
        self.seconds, self.sent_bytes = 0.0, 0
        self._switch, self._barrier, self._table = switch, barrier, table

    def all_gather(self, tensor: Tensor) -> Tensor:
        return self._exchange(tensor.clone(), torch.stack)

    def all_reduce_sum(self, tensor: Tensor) -> Tensor:
        return tensor.copy_(self.all_gather(tensor).sum(dim=0))

    def all_to_all(self, parts: Sequence[Tensor], counts: Sequence[int] | None = None) -> list[Tensor]:
        check_parts(self.world_size, parts, counts)
        return self._exchange([part.clone() for part in parts], lambda table: [sent[self.rank] for sent in table])

    def barrier(self) -> None:
        self._exchange(None, list)

    def _exchange(self, given: Any, take: Callable[[list[Any]], T]) -> T:
        self._switch()
        self._table[self.rank] = given
        self._barrier.wait(_WAIT_S)
        taken = take(self._table)
        self._barrier.wait(_WAIT_S)
        self._switch()
        return taken


def run_ranks(world_size: int, switch: KillSwitch, rank: Callable[[KillableCollectives], T]) -> list[T] | None:
    """Calls a function on every rank, each a thread.

    Args:
        world_size: Ranks.
        switch: May kill one of them, which ends the others at their next collective.
        rank: What a rank does.

    Returns:
        What the ranks returned; None where one was killed.

    Raises:
        Exception: What a rank raised, if none was killed.
    """
    barrier = threading.Barrier(world_size)
    table: list[Any] = [None] * world_size

    def run(number: int) -> T:
        switch.start_rank(number)
        try:
            return rank(KillableCollectives(number, switch, barrier, table))
        except BaseException:
            barrier.abort()
            raise

    with ThreadPoolExecutor(max_workers=world_size) as pool:
        futures = [pool.submit(run, number) for number in range(world_size)]
        errors = [error for future in futures if (error := future.exception()) is not None]
    if switch.fell:
        return None
    for error in sorted(errors, key=lambda error: isinstance(error, threading.BrokenBarrierError)):
        raise error
    return [future.result() for future in futures]


@contextmanager
def killable_files(switch: KillSwitch) -> Generator[None]:
    """Inside, checkpoints and results are written by a filesystem on which each operation may be the last."""

    def filesystem(path: str) -> tuple[pafs.FileSystem, str]:
        return _Files(switch), path

    with (
        mock.patch.object(distributed_il.training.checkpoint, "filesystem", filesystem),
        mock.patch.object(distributed_il.core.files, "filesystem", filesystem),
    ):
        yield


class _Files(pafs.LocalFileSystem):  # pyright: ignore[reportUntypedBaseClass]
    """The local files; a kill comes before, after, or amid an operation."""

    def __init__(self, switch: KillSwitch) -> None:
        super().__init__()
        self._switch = switch

    def create_dir(self, path: str, *, recursive: bool = True) -> None:
        self._switch()
        super().create_dir(path, recursive=recursive)
        self._switch()

    def delete_dir(self, path: str) -> None:
        self._switch()
        files = self.get_file_info(pafs.FileSelector(path))
        if files:
            self.delete_file(files[0].path)
            self._switch()
        super().delete_dir(path)
        self._switch()

    def move(self, source: str, destination: str) -> None:
        self._switch()
        super().move(source, destination)
        self._switch()

    def open_input_file(self, path: str) -> Any:
        self._switch()
        return super().open_input_file(path)

    def open_output_stream(self, path: str, **options: Any) -> _Output:
        self._switch()
        return _Output(super().open_output_stream(path, **options), self._switch)


class _Output:
    """A file whose writer may die when half is written."""

    def __init__(self, stream: Any, switch: KillSwitch) -> None:
        self._stream, self._switch = stream, switch

    def write(self, content: bytes) -> None:
        half = len(content) // 2
        self._stream.write(content[:half])
        self._switch()
        self._stream.write(content[half:])
        self._switch()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._stream.close()
