"""Each row owned by one rank: weights travel to the ranks that need them, gradients back; moments never travel."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from distributed_il.core.collectives import Collectives, LocalCollectives
from distributed_il.core.config import OptimizerConfig
from distributed_il.data.loading.index_plan import IndexPlan
from distributed_il.models.embedding.embedding_store import GatheredBatch, Gradients
from distributed_il.models.embedding.gradient_exchange import average_dense, goes_with_rows, sum_rows
from distributed_il.models.embedding.replicated import ReplicatedStore
from distributed_il.models.embedding.routes import Route, Routes, find_routes, swap_rows
from distributed_il.models.embedding.table import EmbeddingTable, GatheredRows, RowGradients


@dataclass(frozen=True, slots=True)
class RoutedBatch(GatheredBatch):
    """Rows that came from their owners, and the rows owned here that some rank was sent."""

    routes: Routes  # who needs which rows of whom
    owned: GatheredBatch  # the rows owned here, gathered once for all ranks that need them

    def apply_delta(self, sign: float) -> None:
        GatheredBatch.apply_delta(self, sign)
        self.owned.apply_delta(sign)


class ShardedStore:
    """An `EmbeddingStore` whose rank r owns rows r, r + world_size, …: no rank needs memory for a whole table.

    Row by row the arithmetic is that of `ReplicatedStore`: an owner sums what the ranks send, in rank order.
    """

    def __init__(
        self, users: EmbeddingTable, items: EmbeddingTable, optimizer: OptimizerConfig, collectives: Collectives
    ) -> None:
        """Takes the rows that this rank owns: those of numbers rank, rank + world_size, …."""
        self.users, self.items = users, items
        self._collectives = collectives
        # To its owner a part is a table of its own, and the requests of all ranks are one batch.
        self._part = ReplicatedStore(users, items, optimizer, LocalCollectives())
        self._ahead: dict[int, tuple[IndexPlan, Routes]] = {}

    def prefetch_routes(self, plans: Sequence[IndexPlan]) -> None:
        # A plan is known by its id, which no other object can have while the plan is kept here.
        found = zip(plans, find_routes(plans, self._collectives), strict=True)
        self._ahead = {id(plan): (plan, routes) for plan, routes in found}

    def gather(self, plan: IndexPlan, *, step: int, whole: bool) -> GatheredBatch:
        routes = self._routes(plan)
        return self._deliver_batch(routes, self._part.gather(routes.owned, step=step, whole=whole))

    def gather_with_delta(self, plan: IndexPlan, delta: Gradients, *, step: int) -> GatheredBatch:
        routes = self._routes(plan)
        return self._deliver_batch(routes, self._part.gather_with_delta(routes.owned, delta, step=step))

    def reduce(
        self, gathered: GatheredBatch, rows: tuple[Tensor, Tensor], tower: Tensor | None, *, capacity: int
    ) -> Gradients:
        assert isinstance(gathered, RoutedBatch)
        world, routes = self._collectives.world_size, gathered.routes
        packed = tower if tower is not None and goes_with_rows(tower, world) else None
        users, items, *dense = swap_rows(rows, routes.needed, routes.requested, self._collectives, packed)
        if dense:
            averaged = torch.cat(dense[0]).sum(dim=0).div_(world)
        elif tower is not None:
            averaged = average_dense(tower, self._collectives)
        else:
            averaged = rows[0].new_zeros(0)
        return Gradients(_mean(routes.users, users), _mean(routes.items, items), averaged)

    def apply_delta(self, delta: Gradients, sign: float, *, step: int, gathered: GatheredBatch) -> None:
        assert isinstance(gathered, RoutedBatch)
        self._part.apply_delta(delta, sign, step=step, gathered=gathered.owned)

    def adam_step(self, gradients: Gradients, *, step: int, gathered: GatheredBatch) -> None:
        assert isinstance(gathered, RoutedBatch)
        self._part.adam_step(gradients, step=step, gathered=gathered.owned)

    def weights(self, user_ids: Tensor, item_ids: Tensor, *, step: int | None = None) -> tuple[Tensor, Tensor]:
        routes = self._routes(IndexPlan.of(user_ids, item_ids))
        requested = (side.ids.index_select(0, side.inverse) for side in (routes.users.owned, routes.items.owned))
        users, items = self._deliver(routes, *self._part.weights(*requested, step=step))
        return users.index_select(0, routes.users.plan.inverse), items.index_select(0, routes.items.plan.inverse)

    def _routes(self, plan: IndexPlan) -> Routes:
        """Returns the prefetched routes of a plan, or finds them now."""
        _, routes = self._ahead.pop(id(plan), (plan, None))
        return routes or find_routes([plan], self._collectives)[0]

    def _deliver_batch(self, routes: Routes, owned: GatheredBatch) -> RoutedBatch:
        """Sends gathered weights, with δ where they have one, to the ranks that requested them."""
        users, items = self._deliver(routes, _in_request_order(owned.users), _in_request_order(owned.items))
        return RoutedBatch(
            _received(routes.users, users, owned.users), _received(routes.items, items, owned.items), routes, owned
        )

    def _deliver(self, routes: Routes, users: Tensor, items: Tensor) -> tuple[Tensor, Tensor]:
        """Sends the rows that were requested, and returns those that this rank requested: [U, width] for each table."""
        arrived = swap_rows((users, items), routes.requested, routes.needed, self._collectives)
        return torch.cat(arrived[0]), torch.cat(arrived[1])


def _in_request_order(rows: GatheredRows) -> Tensor:
    weight = rows.weight.detach().index_select(0, rows.plan.inverse)
    if rows.delta is None:
        return weight
    return torch.cat([weight, rows.delta.index_select(0, rows.plan.inverse)], dim=1)


def _received(route: Route, rows: Tensor, owned: GatheredRows) -> GatheredRows:
    weight, *delta = rows.split(owned.weight.shape[1], dim=1)
    return GatheredRows(route.plan, weight.requires_grad_(), delta=delta[0] if delta else None)


def _mean(route: Route, parts: list[Tensor]) -> RowGradients:
    """Averages the gradients of the rows owned here: Σ_ranks gradient / world_size."""
    positions = route.owned.inverse.split(route.requested)
    return RowGradients(route.owned.ids, sum_rows(parts, positions, route.owned.ids.numel()).div_(len(parts)))
