"""Training runs in processes of their own: on batches in memory, with pyarrow and torch.distributed, or on Ray."""

from __future__ import annotations

import contextlib
import dataclasses
import datetime
import json
import multiprocessing
import os
import sys
import tempfile
import time
from collections.abc import Callable, Generator, Iterator, Sequence
from pathlib import Path
from typing import Any, Literal

import torch
import torch.distributed as dist

from distributed_il.core.collectives import Collectives, LocalCollectives
from distributed_il.core.config import TrainConfig
from distributed_il.core.shared_memory import join_ranks
from distributed_il.data.dataset import Dataset, LocalBlockReader
from distributed_il.data.lanes import Schedule
from distributed_il.data.loading.batch import Batch, Phase, Subset
from distributed_il.data.loading.loader import TrainingRows
from distributed_il.methods import Method
from distributed_il.training.trainer import Trainer

Way = Literal["bare", "torch_distributed", "stream"]
"""How rows reach the steps.

`bare`: every batch was made before the clock starts. `torch_distributed`: pyarrow reads blocks in the process that
trains. `stream`: Ray Data and Ray Train.
"""
START_UP_S = 300.0
"""Seconds that a process may take to join the others."""


class MadeRows(TrainingRows):
    """Batches of some rounds, made ahead and kept."""

    def __init__(self, rows: TrainingRows, method: Method, rounds: int) -> None:
        """Makes all batches.

        Args:
            rows: What makes them.
            method: Whose passes they are for.
            rounds: Rounds from the first on.
        """
        self._rows = rows
        self._made = {
            (phase, round): list(rows.batches(phase, round=round)) for round in range(rounds) for phase in method.phases
        }

    def schedule(self, subset: Subset) -> Schedule:
        return self._rows.schedule(subset)

    def batches(self, phase: Phase, *, round: int, start_step: int = 0) -> Iterator[list[Batch]]:
        if start_step:
            raise ValueError("these passes begin at their first step")
        yield from self._made[phase, round]


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Speed:
    """What a run said of its speed.

    Attributes:
        rows_per_s: Labelled rows a second over all ranks, in the passes of all rounds.
        pass_s: Seconds of these passes.
        other_s: Seconds of the processes beside them: their start, validation, checkpoints.
        data_wait_share: Share of the passes that ranks waited for batches, on average.
        collectives_share: Share of the passes that ranks spent in collectives, on average.
        peak_memory_bytes: Largest resident memory of each rank.
        pass_memory_bytes: Largest resident memory of each rank at the reports of its passes, by kind.
    """

    rows_per_s: float
    pass_s: float
    other_s: float
    data_wait_share: float
    collectives_share: float
    peak_memory_bytes: list[int]
    pass_memory_bytes: dict[str, list[int]]


def run_way(way: Way, config: TrainConfig) -> Speed:
    """Trains once, in fresh processes.

    Args:
        way: How rows reach the steps.
        config: The run, with an absolute directory that has no checkpoint.

    Returns:
        Its speed.

    Raises:
        RuntimeError: A process failed; its messages are in the error.
    """
    started = time.perf_counter()
    with tempfile.TemporaryDirectory() as scratch:
        if way == "stream":
            _in_processes(_launch, [(config, scratch)], scratch)
        else:
            ranks = [(way, config, scratch, rank) for rank in range(config.run.workers)]
            _in_processes(_train, ranks, scratch)
        found = json.loads(Path(scratch, "throughput.json").read_text())
    return Speed(
        rows_per_s=found["rows_per_s"],
        pass_s=found["seconds"],
        other_s=time.perf_counter() - started - found["seconds"],
        data_wait_share=found["data_wait_share"],
        collectives_share=found["collectives_share"],
        peak_memory_bytes=found["peak_memory_bytes"],
        pass_memory_bytes=found["pass_memory_bytes"],
    )


def _in_processes(work: Callable[..., None], arguments: Sequence[tuple[Any, ...]], scratch: str) -> None:
    context = multiprocessing.get_context("spawn")
    logs = [Path(scratch, f"log-{number}") for number in range(len(arguments))]
    processes = [
        context.Process(target=_quietly, args=(work, part, str(log))) for part, log in zip(arguments, logs, strict=True)
    ]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    failed = [number for number, process in enumerate(processes) if process.exitcode]
    if failed:
        raise RuntimeError(f"process {failed[0]} of {len(processes)} failed:\n{logs[failed[0]].read_text()}")


def _quietly(work: Callable[..., None], arguments: tuple[Any, ...], log: str) -> None:
    """What a process says goes to a file, which is shown where it fails."""
    with Path(log).open("w") as file:
        os.dup2(file.fileno(), sys.stdout.fileno())
        os.dup2(file.fileno(), sys.stderr.fileno())
        work(*arguments)


def _launch(config: TrainConfig, scratch: str) -> None:
    from distributed_il.runtime.launch import launch  # Ray only where it is wanted

    _tell(scratch, launch(config)["run"]["throughput"])


def _train(way: Way, config: TrainConfig, scratch: str, rank: int) -> None:
    torch.set_num_threads(config.run.threads_per_worker)
    dataset, workers = Dataset.open(config.data.path), config.run.workers
    with _collectives(way, rank, workers, scratch) as collectives:
        trainer = Trainer(
            config,
            dataset,
            reader=LocalBlockReader(dataset),
            collectives=collectives,
            device=torch.device("cpu"),
        )
        if way == "bare":
            trainer.rows = MadeRows(trainer.rows, trainer.method, config.run.max_rounds)
        trainer.fit()
        found = trainer.telemetry.throughput()
    if rank == 0:
        _tell(scratch, found)


@contextlib.contextmanager
def _collectives(way: Way, rank: int, workers: int, scratch: str) -> Generator[Collectives]:
    if way == "bare" and workers == 1:
        yield LocalCollectives()
        return
    dist.init_process_group(
        "gloo",
        init_method=f"file://{scratch}/rendezvous",
        rank=rank,
        world_size=workers,
        timeout=datetime.timedelta(seconds=START_UP_S),
    )
    try:
        yield join_ranks(START_UP_S)
        dist.barrier()  # let go of a group amid a collective of another rank, and it may wait for ever
    finally:
        dist.destroy_process_group()


def _tell(scratch: str, throughput: dict[str, Any]) -> None:
    Path(scratch, "throughput.json").write_text(json.dumps(throughput))
