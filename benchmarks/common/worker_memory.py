"""The memory of a run's worker, watched from outside from its start to its end, and a limit on it."""

from __future__ import annotations

import os
import resource
import threading
from pathlib import Path
from types import TracebackType

from distributed_il.core.process import KINDS, bytes_of_process

WORKER = b"ray::RayTrainWorker"
FIELDS = {**KINDS, "data": "VmData"}
"""Resident bytes by kind, and what RLIMIT_DATA counts: private memory, whether touched or not."""
SEEN_EVERY_S = 0.02
SOUGHT_EVERY_S = 0.2


class WorkerMemory:
    """Watches the worker that is started below this process while a `with` block runs (Linux).

    Attributes:
        most: The largest that was seen of each of `FIELDS`; 0 before there is a worker.
        workers: Workers that were seen, one after the other.
        started: Set once there is one.
    """

    def __init__(self, limit_bytes: int | None = None, *, name: bytes = WORKER) -> None:
        """Says what to watch.

        Args:
            limit_bytes: RLIMIT_DATA of the worker, set as soon as it is seen; None for none.
            name: How the worker's command line begins.
        """
        self.most = dict.fromkeys(FIELDS, 0)
        self.workers = 0
        self.started = threading.Event()
        self._limit_bytes, self._name = limit_bytes, name
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="worker-memory", daemon=True)

    def __enter__(self) -> WorkerMemory:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._end.set()
        self._thread.join()

    def _watch(self) -> None:
        worker: int | None = None
        ended = False
        while not ended:
            ended = self._end.wait(SOUGHT_EVERY_S if worker is None else SEEN_EVERY_S)
            if worker is None:
                worker = self._new_worker()
            if worker is None:
                continue
            seen = bytes_of_process(worker, FIELDS)
            self.most = {name: max(most, seen[name]) for name, most in self.most.items()}
            if not seen["data"]:
                worker = None  # it has ended

    def _new_worker(self) -> int | None:
        parents = _parents()
        for process in parents:
            if _is_below(process, parents) and _command(process).startswith(self._name):
                self.workers += 1
                if self._limit_bytes is not None:
                    resource.prlimit(process, resource.RLIMIT_DATA, (self._limit_bytes, self._limit_bytes))
                self.started.set()
                return process
        return None


def _parents() -> dict[int, int]:
    """The parent of every process; one that ends meanwhile is left out."""
    parents: dict[int, int] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                # The name of a program stands in brackets and may hold anything.
                parents[int(entry.name)] = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
            except OSError:
                continue
    return parents


def _is_below(process: int, parents: dict[int, int]) -> bool:
    while process in parents:
        process = parents[process]
        if process == os.getpid():
            return True
    return False


def _command(process: int) -> bytes:
    try:
        return Path(f"/proc/{process}/cmdline").read_bytes()
    except OSError:
        return b""
