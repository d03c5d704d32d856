"""The model that is being trained: two tables, a tower, one optimiser, the same on every rank."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.parallel import DistributedDataParallel

from distributed_il.collectives import Collectives
from distributed_il.config import ModelConfig, OptimizerConfig
from distributed_il.counters import INIT, hash_u64
from distributed_il.exchange import exchange_rows
from distributed_il.models import Backbone, load_backbone
from distributed_il.row_adam import BETA1, BETA2, EPSILON
from distributed_il.tables import EmbeddingTable, RowGradients, Tile


@dataclass(frozen=True, slots=True)
class Tiles:
    """The user rows and item rows that a batch touches."""

    users: Tile
    items: Tile

    @property
    def leaves(self) -> list[Tensor]:
        """The weights that gradients flow to: users, items."""
        return [self.users.weight, self.items.weight]


class Learner:
    """Tables, tower and optimiser of one replica.

    Attributes:
        users: The user table.
        items: The item table.
        tower: The backbone with the tower's parameters.
        replica: The tower as labelled steps call it: wrapped by DDP where there are several ranks.
        tower_optimizer: Adam on the tower's parameters; None for a tower without any.
        step: Optimiser steps taken so far.
    """

    def __init__(
        self,
        model: ModelConfig,
        optimizer: OptimizerConfig,
        *,
        num_users: int,
        num_items: int,
        seed: int,
        collectives: Collectives,
        device: torch.device,
    ) -> None:
        """Builds the same initial weights on every rank.

        Args:
            model: The `model` section of the run.
            optimizer: The `optimizer` section of the run.
            num_users: Rows of the user table.
            num_items: Rows of the item table.
            seed: Decides the initial weights.
            collectives: The ranks.
            device: Where tables and tower live.
        """
        self.optimizer, self.collectives, self.device = optimizer, collectives, device
        seeds = [int(hash_u64(seed, INIT, part)) % 2**62 for part in range(3)]
        self.tower: Backbone = load_backbone(model, seed=seeds[0]).to(device)
        dtype = getattr(torch, model.dtype)
        self.users = EmbeddingTable(
            num_users, self.tower.user_dim, std=model.init_std, seed=seeds[1], dtype=dtype, device=device
        )
        self.items = EmbeddingTable(
            num_items, self.tower.item_dim, std=model.init_std, seed=seeds[2], dtype=dtype, device=device
        )
        self.step = 0
        self.parameters = list(self.tower.parameters())
        self.tower_optimizer = (
            torch.optim.Adam(
                self.parameters,
                lr=optimizer.learning_rate,
                betas=(BETA1, BETA2),
                eps=EPSILON,
                weight_decay=optimizer.weight_decay,
                fused=True,
            )
            if self.parameters
            else None
        )
        self.replica: torch.nn.Module = (
            DistributedDataParallel(self.tower, gradient_as_bucket_view=True)
            if collectives.world_size > 1 and self.parameters
            else self.tower
        )

    def tiles(self, user_ids: Tensor, item_ids: Tensor) -> Tiles:
        """Gathers the rows of some pairs as leaves for autograd.

        Args:
            user_ids: int64 [B].
            item_ids: int64 [B].
        """
        return Tiles(
            self.users.tile(user_ids, step=self.step, optimizer=self.optimizer),
            self.items.tile(item_ids, step=self.step, optimizer=self.optimizer),
        )

    def exchange(self, tiles: Tiles, gradients: Sequence[Tensor], *, capacity: int) -> tuple[RowGradients, ...]:
        """Averages the row gradients of a batch over ranks.

        Args:
            tiles: The batch's rows.
            gradients: Of `tiles.leaves`.
            capacity: Most pairs that any rank has in this batch.
        """
        parts = [RowGradients(tiles.users.ids, gradients[0]), RowGradients(tiles.items.ids, gradients[1])]
        return exchange_rows(parts, capacity=capacity, collectives=self.collectives)

    def average_tower(self, gradients: Sequence[Tensor]) -> list[Tensor]:
        """Averages gradients of the tower over ranks where DDP had no part in the backward pass.

        Args:
            gradients: One for each parameter.
        """
        if self.collectives.world_size == 1 or not gradients:
            return list(gradients)
        flat = torch.cat([gradient.reshape(-1) for gradient in gradients])
        self.collectives.all_reduce_sum(flat).div_(self.collectives.world_size)
        parts = flat.split([gradient.numel() for gradient in gradients])
        return [part.view_as(gradient) for part, gradient in zip(parts, gradients, strict=True)]

    def descend(self, loss: Tensor, tiles: Tiles, *, capacity: int) -> None:
        """Takes one labelled step: backward (DDP averages the tower), exchange of rows, Adam.

        Args:
            loss: This rank's part of the global mean, times world_size: DDP and the exchange average over ranks.
            tiles: The rows that the loss was computed from.
            capacity: Most pairs that any rank has in this batch.
        """
        for parameter in self.parameters:
            parameter.grad = None
        loss.backward()
        gradients = [torch.zeros_like(leaf) if leaf.grad is None else leaf.grad for leaf in tiles.leaves]
        self.adam_step(self.exchange(tiles, gradients, capacity=capacity))

    def adam_step(self, rows: Sequence[RowGradients], tower: Sequence[Tensor] | None = None) -> None:
        """Takes one Adam step on rows and tower from gradients of the global batch.

        Args:
            rows: Gradients of users and items.
            tower: Gradients of the tower; None where DDP has left them in the parameters.
        """
        self.step += 1
        users, items = rows
        self.users.adam_step(users, step=self.step, optimizer=self.optimizer)
        self.items.adam_step(items, step=self.step, optimizer=self.optimizer)
        if self.tower_optimizer is None:
            return
        if tower is not None:
            for parameter, gradient in zip(self.parameters, tower, strict=True):
                parameter.grad = gradient
        self.tower_optimizer.step()

    def settle(self) -> None:
        """Brings every row up to date, so that whole tables can be read."""
        self.users.settle(step=self.step, optimizer=self.optimizer)
        self.items.settle(step=self.step, optimizer=self.optimizer)

    @torch.no_grad()
    def score(self, user_ids: Tensor, item_ids: Tensor) -> Tensor:
        """Logits of pairs; call `settle` first.

        Args:
            user_ids: int64 [B].
            item_ids: int64 [B].

        Returns:
            Logits [B].
        """
        return self.tower(
            self.users.weight.index_select(0, user_ids),
            self.items.weight.index_select(0, item_ids),
        )
