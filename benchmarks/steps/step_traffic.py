"""What a step of several ranks moves beside its own arithmetic, by count: collectives, and rows that are reduced."""

from __future__ import annotations

import functools
from dataclasses import dataclass

import numpy as np
import torch

from benchmarks.steps.rank_steps import DIM, Case, Catalogue, Kind, Tables
from distributed_il.data.loading.loader import window_steps
from distributed_il.methods.steps.executor import DDP_FROM_PARAMETERS
from distributed_il.models.embedding.gradient_exchange import GATHERED_DENSE_BYTES, ID_BYTES

WIDTHS = {"gmf": DIM, "neumf": 5 * DIM}
"""Numbers in a row of either table."""
VALUE_BYTES = 4
DECISION_BYTES = 32
"""Three sums and a count."""


@dataclass(frozen=True, slots=True)
class Call:
    """Collectives of one kind and size.

    Attributes:
        kind: Which collective.
        size: Bytes of a rank: its tensor, or what it has for all other ranks together.
        count: How many there are in a step; a fraction where one serves several steps.
    """

    kind: Kind
    size: float
    count: float = 1.0


@dataclass(frozen=True, slots=True)
class Touched:
    """Distinct rows of both tables together.

    Attributes:
        own: Rows that the batch of one rank touches.
        union: Rows that the batches of all ranks touch.
    """

    own: float
    union: float


@dataclass(frozen=True, slots=True)
class Traffic:
    """What several ranks add to a step.

    Attributes:
        calls: Collectives.
        reduced_rows: Rows that a rank sums.
        reduced_bytes: Their bytes.
        updated_bytes: Bytes of the distinct rows that it then has.
    """

    calls: tuple[Call, ...]
    reduced_rows: float
    reduced_bytes: float
    updated_bytes: float

    @property
    def waits(self) -> float:
        """Collectives of a step, of every kind."""
        return sum(call.count for call in self.calls)


@functools.cache
def touched_rows(catalogue: Catalogue, batch: int, world_size: int, samples: int = 4) -> tuple[Touched, Touched]:
    """Distinct rows of labelled batches, and of their unlabelled pairs, on average over drawn ones.

    Args:
        catalogue: What ids are drawn from.
        batch: Rows of a rank, and as many pairs.
        world_size: Ranks.
        samples: Global batches to draw.
    """
    counts = np.zeros((2, 2))
    for sample in range(samples):
        generator = torch.Generator().manual_seed(sample)
        users, items = catalogue.draw(batch * world_size, generator)
        others = catalogue.any_items(batch * world_size, generator)
        for row, ids in enumerate((items, others)):
            for column, part in enumerate((slice(batch), slice(None))):
                counts[row, column] += torch.unique(users[part]).numel() + torch.unique(ids[part]).numel()
    labelled, pairs = (counts / samples).tolist()
    return Touched(*labelled), Touched(*pairs)


def traffic(case: Case, tables: Tables, world_size: int, tower: int, labelled: Touched, pairs: Touched) -> Traffic:
    """Counts what a step does, as `replicated_rows`, `sharded_rows` and `exchange` do it.

    Args:
        case: The step.
        tables: Where rows are kept.
        world_size: Ranks; one adds nothing.
        tower: P, parameters of the tower.
        labelled: Rows of the labelled batch.
        pairs: Rows of its unlabelled pairs.
    """
    if world_size == 1:
        return Traffic((), 0.0, 0.0, 0.0)
    batches = [labelled] if case.phase == "plain" else [pairs, labelled]
    row_bytes = WIDTHS[case.backbone] * VALUE_BYTES
    calls = _decision(case)
    for touched in batches:
        if tables == "replicated":
            calls += _gathered(case, world_size, tower, row_bytes)
        else:
            shifted = case.phase == "inverse" and touched is labelled
            calls += _swapped(case, world_size, tower, row_bytes, touched.own, shifted)
    if tables == "sharded":
        calls += _questions(case, world_size, [rows.own for rows in batches])
    if tables == "replicated":
        reduced, updated = sum(world_size * rows.own for rows in batches), sum(rows.union for rows in batches)
    else:
        # Of W · own requests, and of the union, each rank has its W-th part.
        reduced, updated = sum(rows.own for rows in batches), sum(rows.union for rows in batches) / world_size
    return Traffic(tuple(calls), reduced, reduced * row_bytes, updated * row_bytes)


def _decision(case: Case) -> list[Call]:
    return [Call("gather", DECISION_BYTES)] if case.phase == "inverse" else []


def _dense(case: Case, world_size: int, tower: int) -> tuple[int, list[Call]]:
    """Bytes of the tower's gradient that go with the rows, and its own collective where it has one."""
    size = tower * VALUE_BYTES
    by_ddp = case.phase == "plain" and tower >= DDP_FROM_PARAMETERS
    if by_ddp or size * world_size > GATHERED_DENSE_BYTES:
        return 0, [Call("reduce", size)]
    return size, []


def _gathered(case: Case, world_size: int, tower: int, row_bytes: int) -> list[Call]:
    """One exchange of replicated tables: every rank sends `batch` slots a table to all, filled or not."""
    packed, apart = _dense(case, world_size, tower)
    slots = case.batch + case.batch % 2
    size = 2 * ID_BYTES + 2 * slots * (ID_BYTES + row_bytes) + packed
    return [Call("gather", size + -size % ID_BYTES), *apart]


def _swapped(case: Case, world_size: int, tower: int, row_bytes: int, rows: float, shifted: bool) -> list[Call]:
    """Rows of sharded tables for one batch: fetched, with δ in the second half of an inverse step, and sent back."""
    packed, apart = _dense(case, world_size, tower)
    elsewhere = rows * (world_size - 1) / world_size
    return [
        Call("swap", elsewhere * row_bytes * (2 if shifted else 1)),
        Call("swap", elsewhere * row_bytes + packed * (world_size - 1)),
        *apart,
    ]


def _questions(case: Case, world_size: int, rows: list[float]) -> list[Call]:
    """How many rows of each table are needed of each rank, and which: requested for all batches of a window at once."""
    steps = window_steps(case.batch)
    counts = 2 * ID_BYTES * len(rows) * steps * (world_size - 1)
    ids = ID_BYTES * sum(rows) * steps * (world_size - 1) / world_size
    return [Call("swap", counts, 1 / steps), Call("swap", ids, 1 / steps)]
