"""Whole tables on every rank: row gradients are exchanged, and each rank takes the same step on the same rows."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from distributed_il.core.collectives import Collectives
from distributed_il.core.config import OptimizerConfig
from distributed_il.data.loading.index_plan import IndexPlan
from distributed_il.models.embedding.embedding_store import Gradients, Shifts, Tiles
from distributed_il.models.embedding.gradient_exchange import exchange_rows
from distributed_il.models.embedding.table import EmbeddingTable, RowGradients, Tile


class ReplicatedRows:
    """A `RowStore` whose every rank holds every row, bit for bit alike."""

    def __init__(
        self, users: EmbeddingTable, items: EmbeddingTable, optimizer: OptimizerConfig, collectives: Collectives
    ) -> None:
        """Takes the tables.

        Args:
            users: The user table.
            items: The item table.
            optimizer: The `optimizer` section of the run.
            collectives: The ranks.
        """
        self.users, self.items = users, items
        self._optimizer, self._collectives = optimizer, collectives

    def announce(self, plans: Sequence[IndexPlan]) -> None:
        return

    def tiles(self, plan: IndexPlan, *, step: int, whole: bool) -> Tiles:
        # With several ranks the rows to update are those of all ranks, which are not known yet.
        whole = whole and self._collectives.world_size == 1
        return Tiles(
            self.users.tile(plan.users, step=step, optimizer=self._optimizer, whole=whole),
            self.items.tile(plan.items, step=step, optimizer=self._optimizer, whole=whole),
        )

    def reduce(self, tiles: Tiles, rows: tuple[Tensor, Tensor], tower: Tensor | None, *, capacity: int) -> Gradients:
        parts = (RowGradients(tiles.users.plan.ids, rows[0]), RowGradients(tiles.items.plan.ids, rows[1]))
        (users, items), averaged = exchange_rows(parts, tower, capacity=capacity, collectives=self._collectives)
        return Gradients(users, items, rows[0].new_zeros(0) if averaged is None else averaged)

    def tiles_and_shifts(self, plan: IndexPlan, delta: Gradients, *, step: int) -> tuple[Tiles, Shifts]:
        tiles = self.tiles(plan, step=step, whole=True)
        return tiles, Shifts(_at(tiles.users, delta.users), _at(tiles.items, delta.items))

    def shift(self, delta: Gradients, sign: float, *, step: int, tiles: Tiles) -> None:
        for table, part, tile in ((self.users, delta.users, tiles.users), (self.items, delta.items, tiles.items)):
            gathered = tile if part.ids is tile.plan.ids else None
            table.shift(part.ids, part.gradient, sign=sign, step=step, optimizer=self._optimizer, tile=gathered)

    def adam_step(self, gradients: Gradients, *, step: int, tiles: Tiles) -> None:
        sides = ((self.users, gradients.users, tiles.users), (self.items, gradients.items, tiles.items))
        for table, part, tile in sides:
            packed = tile.packed if part.ids is tile.plan.ids else None
            table.adam_step(part, step=step, optimizer=self._optimizer, packed=packed)

    def weights(self, user_ids: Tensor, item_ids: Tensor) -> tuple[Tensor, Tensor]:
        return self.users.weight.index_select(0, user_ids), self.items.weight.index_select(0, item_ids)


def _at(tile: Tile, delta: RowGradients) -> Tensor:
    """δ of a tile's rows: [U, dim], 0 for rows that have none."""
    if not delta.ids.numel():
        return torch.zeros_like(tile.weight)
    position = torch.searchsorted(delta.ids, tile.plan.ids).clamp_(max=delta.ids.numel() - 1)
    touched = (delta.ids.index_select(0, position) == tile.plan.ids).unsqueeze(1)
    return delta.gradient.index_select(0, position).mul_(touched)
