"""Routes of sharded rows between ranks; row n is owned by rank n mod world_size."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from distributed_il.core.collectives import Collectives
from distributed_il.data.loading.index_plan import IndexPlan, UniqueIds


@dataclass(frozen=True, slots=True)
class Route:
    """The route of one table's rows for one batch: from owners to requesters, and of gradients back."""

    # the rows that this rank needs, grouped by owner and ascending within a group; `inverse` is its pairs'
    plan: UniqueIds
    needed: list[int]  # how many of them each rank owns
    # the distinct rows of this rank that any rank needs, numbered as they are here, ascending; `inverse` is that of the
    # requests, by rank and in that rank's order
    owned: UniqueIds
    requested: list[int]  # how many rows each rank requests


@dataclass(frozen=True, slots=True)
class Routes:
    """The routes of user rows and item rows."""

    users: Route
    items: Route

    @property
    def needed(self) -> tuple[list[int], list[int]]:
        """Rows that this rank needs of each rank: users, items."""
        return self.users.needed, self.items.needed

    @property
    def requested(self) -> tuple[list[int], list[int]]:
        """Rows that each rank needs of this one: users, items."""
        return self.users.requested, self.items.requested

    @property
    def owned(self) -> IndexPlan:
        """The rows of this rank that any rank needs, as the plan of a batch."""
        return IndexPlan(self.users.owned, self.items.owned)


def find_routes(plans: Sequence[IndexPlan], collectives: Collectives) -> list[Routes]:
    """Tells the owners of rows which ranks need them in coming batches, as many on every rank; a collective call."""
    if not plans:
        return []
    world = collectives.world_size
    sides = [_by_owner(side, world) for plan in plans for side in (plan.users, plan.items)]
    needed = torch.stack([torch.bincount(side.ids % world, minlength=world) for side in sides], dim=1)
    requested = torch.cat(collectives.all_to_all(needed.split(1), [1] * world)).T.tolist()
    counts = needed.T.tolist()
    requests = swap_rows([side.ids.unsqueeze(1) // world for side in sides], counts, requested, collectives)
    routes = [
        Route(side, mine, UniqueIds(*torch.unique(torch.cat(parts).flatten(), return_inverse=True)), theirs)
        for side, mine, parts, theirs in zip(sides, counts, requests, requested, strict=True)
    ]
    return [Routes(*pair) for pair in zip(routes[::2], routes[1::2], strict=True)]


def swap_rows(
    rows: Sequence[Tensor],
    counts: Sequence[Sequence[int]],
    arriving: Sequence[Sequence[int]],
    collectives: Collectives,
    dense: Tensor | None = None,
) -> list[list[Tensor]]:
    """Sends rows of several tables to the ranks that they are for, in one collective.

    Args:
        rows: For each table [n, width], first the rows for rank 0, then those for rank 1, …; all of one dtype.
        counts: For each table, how many rows go to each rank.
        arriving: For each table, how many rows come from each rank.
        collectives: The ranks.
        dense: [P] of the same dtype, sent to every rank; its size is the same on all.

    Returns:
        For each table what has come from each rank, [rows, width]; then, if `dense` was given, each rank's, [1, P].
    """
    world = collectives.world_size
    tables = [table.split(list(count)) for table, count in zip(rows, counts, strict=True)]
    widths, arriving = [table.shape[1] for table in rows], list(arriving)
    if dense is not None:
        tables.append((dense.unsqueeze(0),) * world)
        widths.append(dense.numel())
        arriving.append([1] * world)
    sizes = [[count[rank] * width for count, width in zip(arriving, widths, strict=True)] for rank in range(world)]
    parts = [torch.cat([table[rank].reshape(-1) for table in tables]) for rank in range(world)]
    arrived = collectives.all_to_all(parts, [sum(size) for size in sizes])
    pieces = [part.split(size) for part, size in zip(arrived, sizes, strict=True)]
    return [
        [piece[table].view(count[rank], width) for rank, piece in enumerate(pieces)]
        for table, (count, width) in enumerate(zip(arriving, widths, strict=True))
    ]


def _by_owner(plan: UniqueIds, world_size: int) -> UniqueIds:
    """Groups rows by owner."""
    order = torch.argsort(plan.ids % world_size, stable=True)
    position = torch.empty_like(order)
    position[order] = torch.arange(order.numel(), device=order.device)
    factors = None if plan.factors is None else plan.factors.index_select(0, order)
    return UniqueIds(plan.ids.index_select(0, order), position.index_select(0, plan.inverse), factors)
