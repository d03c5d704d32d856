"""What ranks do in a step, to be timed: steps of the product on made batches, and bare collectives."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, get_args

import torch
from torch import Tensor

from distributed_il.core.collectives import Collectives
from distributed_il.core.config import ModelConfig, OptimizerConfig
from distributed_il.core.method_config import InverseGradientConfig
from distributed_il.data.loading.batch import Batch, Unlabelled
from distributed_il.data.loading.index_plan import IndexPlan, Overlap
from distributed_il.data.loading.loader import window_steps
from distributed_il.methods import make_method
from distributed_il.methods.steps.executor import StepExecutor
from distributed_il.models.learner import Learner

Tables = Literal["replicated", "sharded"]
Phase = Literal["plain", "inverse"]
Kind = Literal["gather", "reduce", "swap"]
"""all_gather, all_reduce, all_to_all."""
KINDS: tuple[Kind, ...] = get_args(Kind)
DIM = 32
"""Embedding size."""


@dataclass(frozen=True, slots=True)
class Case:
    """A kind of step.

    Attributes:
        backbone: `gmf` or `neumf`.
        phase: A labelled step, or an inverse one.
        batch: Labelled rows of a rank; as many unlabelled pairs in an inverse step.
    """

    backbone: str
    phase: Phase
    batch: int

    @property
    def name(self) -> str:
        """Begins the names of its figures."""
        return f"{self.backbone}_{self.phase}_batch_{self.batch}"


@dataclass(frozen=True, slots=True)
class Catalogue:
    """Users and items: number n is met in proportion to 1 / √n, as in a log; unlabelled items at random."""

    users: int = 37_692
    items: int = 131_690

    def draw(self, count: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Users and items of labelled rows, int64 [count] each."""
        users, items = (torch.rand(count, generator=generator, dtype=torch.float64) for _ in range(2))
        return (users.square() * self.users).long(), (items.square() * self.items).long()

    def any_items(self, count: int, generator: torch.Generator) -> Tensor:
        """Items of unlabelled pairs, int64 [count]."""
        return torch.randint(self.items, (count,), generator=generator)


def make_window(catalogue: Catalogue, case: Case, rank: int, world_size: int, seed: int) -> list[Batch]:
    """A rank's batches of one window, with their index plans.

    Args:
        catalogue: What ids are drawn from.
        case: Batch and phase.
        rank: Of this process.
        world_size: Ranks.
        seed: Another one gives other batches.
    """
    generator = torch.Generator().manual_seed(seed * 1_000 + rank)
    return [_make_batch(catalogue, case, world_size, generator) for _ in range(window_steps(case.batch))]


def _make_batch(catalogue: Catalogue, case: Case, world_size: int, generator: torch.Generator) -> Batch:
    users, items = catalogue.draw(case.batch, generator)
    labels = torch.randint(2, (case.batch,), generator=generator).float()
    plan, pairs = IndexPlan.of(users, items), None
    if case.phase == "inverse":
        others = catalogue.any_items(case.batch, generator)
        drawn = IndexPlan.of(users, others)
        pairs = Unlabelled(users, others, torch.ones(case.batch), 1, plan=drawn, overlap=Overlap.of(plan, drawn))
    numbers = torch.arange(case.batch)
    return Batch(users, items, labels, numbers, pairs, case.batch * world_size, case.batch, plan)


def prepare_steps(
    ranks: Collectives, memory: dict[str, Any], catalogue: Catalogue, case: Case, tables: Tables, windows: int
) -> int:
    """Makes learner and batches of a case, and takes one window of steps; the learner of a backbone is kept.

    Args:
        ranks: The ranks.
        memory: Of this rank.
        catalogue: Sizes of the tables.
        case: What to step.
        tables: Where rows are kept.
        windows: Windows of batches to make.

    Returns:
        P, the parameters of the tower.
    """
    if memory.get("backbone") != case.backbone:
        memory.clear()
        memory["backbone"] = case.backbone
    if tables not in memory:
        model = ModelConfig(backbone=case.backbone, embedding_dim=DIM, tables=tables)
        learner = Learner(
            model,
            OptimizerConfig(),
            num_users=catalogue.users,
            num_items=catalogue.items,
            seed=0,
            collectives=ranks,
            device=torch.device("cpu"),
        )
        memory[tables] = StepExecutor(learner)
    memory["windows"] = [make_window(catalogue, case, ranks.rank, ranks.world_size, seed) for seed in range(windows)]
    time_steps(ranks, memory, tables, 0)
    return memory[tables].learner.tower.size


def time_steps(ranks: Collectives, memory: dict[str, Any], tables: Tables, turn: int) -> tuple[float, float]:
    """Takes the steps of one window.

    Args:
        ranks: The ranks.
        memory: Of this rank, prepared.
        tables: Where rows are kept.
        turn: Which of the windows.

    Returns:
        Seconds of a step, and bytes that it handed to collectives other than DDP's, on average.
    """
    executor: StepExecutor = memory[tables]
    window: list[Batch] = memory["windows"][turn % len(memory["windows"])]
    method = make_method(InverseGradientConfig())
    ranks.barrier()
    started, sent = time.perf_counter(), ranks.sent_bytes
    executor.learner.embeddings.prefetch_routes([plan for batch in window for plan in batch.plans])
    for batch in window:
        method.step(executor, batch)
    ranks.barrier()
    return (time.perf_counter() - started) / len(window), (ranks.sent_bytes - sent) / len(window)


def time_collective(ranks: Collectives, memory: dict[str, Any], kind: Kind, size: int, calls: int) -> float:
    """Seconds of one collective.

    Args:
        ranks: Two or more.
        memory: Not used.
        kind: Which collective.
        size: Bytes of a rank, a multiple of 4: its tensor, or what it has for all other ranks together.
        calls: Calls to average over, after one that is not timed.
    """
    call = _collective(ranks, kind, size)
    call()
    ranks.barrier()
    started = time.perf_counter()
    for _ in range(calls):
        call()
    ranks.barrier()
    return (time.perf_counter() - started) / calls


def _collective(ranks: Collectives, kind: Kind, size: int) -> Callable[[], object]:
    world = ranks.world_size
    if kind == "swap":
        part = torch.zeros(size // 4 // (world - 1))
        parts, counts = [part] * world, [part.numel()] * world
        return lambda: ranks.all_to_all(parts, counts)
    tensor = torch.zeros(size // 4)
    if kind == "gather":
        return lambda: ranks.all_gather(tensor)
    return lambda: ranks.all_reduce_sum(tensor)
