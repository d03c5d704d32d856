"""Whole tables on every rank: row gradients are exchanged, and each rank takes the same step on the same rows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from torch import Tensor

from distributed_il.core.collectives import Collectives
from distributed_il.core.config import OptimizerConfig
from distributed_il.data.loading.index_plan import IndexPlan, positions_among, rows_at
from distributed_il.models.embedding.embedding_store import GatheredBatch, Gradients
from distributed_il.models.embedding.gradient_exchange import exchange_rows
from distributed_il.models.embedding.table import EmbeddingTable, GatheredRows, RowGradients


class ReplicatedStore:
    """An `EmbeddingStore` that holds every row on every rank, bit for bit alike."""

    def __init__(
        self, users: EmbeddingTable, items: EmbeddingTable, optimizer: OptimizerConfig, collectives: Collectives
    ) -> None:
        self.users, self.items = users, items
        self._optimizer, self._collectives = optimizer, collectives

    def prefetch_routes(self, plans: Sequence[IndexPlan]) -> None:
        return

    def gather(self, plan: IndexPlan, *, step: int, whole: bool) -> GatheredBatch:
        # With several ranks the rows to update are those of all ranks, which are not known yet.
        whole = whole and self._collectives.world_size == 1
        return GatheredBatch(
            self.users.gather(plan.users, step=step, optimizer=self._optimizer, whole=whole),
            self.items.gather(plan.items, step=step, optimizer=self._optimizer, whole=whole),
        )

    def reduce(
        self, gathered: GatheredBatch, rows: tuple[Tensor, Tensor], tower: Tensor | None, *, capacity: int
    ) -> Gradients:
        parts = (RowGradients(gathered.users.plan.ids, rows[0]), RowGradients(gathered.items.plan.ids, rows[1]))
        (users, items), averaged = exchange_rows(parts, tower, capacity=capacity, collectives=self._collectives)
        return Gradients(users, items, rows[0].new_zeros(0) if averaged is None else averaged)

    def gather_with_delta(self, plan: IndexPlan, delta: Gradients, *, step: int) -> GatheredBatch:
        gathered = self.gather(plan, step=step, whole=True)
        return GatheredBatch(_with_delta(gathered.users, delta.users), _with_delta(gathered.items, delta.items))

    def apply_delta(self, delta: Gradients, sign: float, *, step: int, gathered: GatheredBatch) -> None:
        for table, part, rows in ((self.users, delta.users, gathered.users), (self.items, delta.items, gathered.items)):
            own = rows if part.ids is rows.plan.ids else None
            table.apply_delta(part.ids, part.gradient, sign=sign, step=step, optimizer=self._optimizer, gathered=own)

    def adam_step(self, gradients: Gradients, *, step: int, gathered: GatheredBatch) -> None:
        sides = ((self.users, gradients.users, gathered.users), (self.items, gradients.items, gathered.items))
        for table, part, rows in sides:
            packed = rows.packed if part.ids is rows.plan.ids else None
            table.adam_step(part, step=step, optimizer=self._optimizer, packed=packed)

    def weights(self, user_ids: Tensor, item_ids: Tensor, *, step: int | None = None) -> tuple[Tensor, Tensor]:
        users, items = (
            table.read(ids, step=step, optimizer=self._optimizer)
            for table, ids in ((self.users, user_ids), (self.items, item_ids))
        )
        return users, items


def _with_delta(rows: GatheredRows, delta: RowGradients) -> GatheredRows:
    return replace(rows, delta=rows_at(positions_among(rows.plan.ids, delta.ids), delta.gradient))
