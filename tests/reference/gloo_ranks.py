"""Runs a function in several real processes, joined by gloo."""

from __future__ import annotations

import multiprocessing
import sys
import warnings
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
import torch.multiprocessing as mp

from distributed_il.core.collectives import DistributedCollectives

RankFunction = Callable[..., Any]


def run_on_gloo(world_size: int, folder: Path, function: RankFunction, *arguments: Any) -> list[Any]:
    """Calls `function(collectives, *arguments)` on every rank and returns what the ranks returned.

    The ranks are forked from a server, without threads, that has imported the trainer once for all tests of a process:
    to import torch takes longer than what most ranks do. They see the environment of the first call.

    Args:
        world_size: Processes.
        folder: An empty directory for rendezvous and results.
        function: A function of a module that can be imported by name.
        *arguments: Passed on.
    """
    multiprocessing.set_forkserver_preload(["distributed_il.training.trainer", "torch._dynamo"])  # DDP loads the latter
    with warnings.catch_warnings():
        # Python 3.12 and later warn of fork() in a process with threads; the server has none.
        warnings.simplefilter("ignore", DeprecationWarning)
        mp.start_processes(
            _rank,
            args=(world_size, str(folder), function, arguments),
            nprocs=world_size,
            start_method="forkserver",
        )
    return [torch.load(folder / f"result-{rank}.pt", weights_only=False) for rank in range(world_size)]


def _rank(rank: int, world_size: int, folder: str, function: RankFunction, arguments: tuple[Any, ...]) -> None:
    torch.set_num_threads(1)
    dist.init_process_group(
        "gloo",
        init_method=f"file://{folder}/rendezvous",
        rank=rank,
        world_size=world_size,
        timeout=timedelta(seconds=120),
    )
    try:
        torch.save(function(DistributedCollectives(), *arguments), f"{folder}/result-{rank}.pt")
        dist.barrier()
    finally:
        sys.stdout.flush()
        dist.destroy_process_group()
