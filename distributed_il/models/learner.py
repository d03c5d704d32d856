"""The model in training: embedding rows, a tower and one optimiser, over all ranks."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import torch
from torch import Tensor

from distributed_il.core.collectives import Collectives
from distributed_il.core.config import ModelConfig, OptimizerConfig
from distributed_il.core.counter_rng import INIT, hash_u64
from distributed_il.data.features import Features
from distributed_il.data.loading.index_plan import IndexPlan
from distributed_il.models.backbones import load_backbone
from distributed_il.models.embedding.embedding_store import EmbeddingStore, GatheredBatch, Gradients
from distributed_il.models.embedding.factored import MAPS, FactoredStore, Factors, RowDropout, RowFactors
from distributed_il.models.embedding.replicated import ReplicatedStore
from distributed_il.models.embedding.sharded import ShardedStore
from distributed_il.models.embedding.table import EmbeddingTable
from distributed_il.models.tower import Extra, Tower


class PassResult(NamedTuple):
    """The result of a pass over some pairs."""

    values: Tensor  # log losses of labelled pairs, or logits of unlabelled ones, detached [B]
    users: Tensor  # gradient of the user rows, [U, user_dim]
    items: Tensor  # gradient of the item rows, [U, item_dim]
    tower: tuple[Tensor, ...]  # gradient of each parameter of the tower, then of each of the method's extras


class Learner:
    """Rows, tower and optimiser of one rank.

    Attributes:
        embeddings: The embedding rows of all ranks.
        tower: The backbone with its parameters, the same on every rank.
        features: Side features that the backbone is given; None where it takes or gets none.
        drops_rows: Whether a step leaves out some rows' own parts.
        method_extras: Weights that the method learns beside the backbone's, views of the tower's.
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
        features: Features | None = None,
        factors: Factors | None = None,
        method_extras: Mapping[str, Extra] | None = None,
    ) -> None:
        """Builds the same initial weights whatever the number of ranks."""
        self.optimizer, self.collectives, self.device = optimizer, collectives, device
        seeds = [int(hash_u64(seed, INIT, part)) % 2**62 for part in range(3)]
        dtype = getattr(torch, model.dtype)
        backbone = load_backbone(model, seed=seeds[0], features=features)
        self.features = features.to(device) if features is not None and backbone.takes_features else None
        extras = dict(method_extras or {})  # in front of the maps, whose gradients come last
        if factors is not None:
            for name, side, dim in zip(MAPS, factors[:2], (backbone.user_dim, backbone.item_dim), strict=True):
                extras[name] = Extra((side.raw.shape[1], dim), factors.weight_decay)
        self.tower = Tower(backbone, dtype=dtype, device=device, extras=extras)
        self.method_extras = tuple(self.tower.extra(name) for name in method_extras or {})

        sharded = model.tables == "sharded" and collectives.world_size > 1
        first, stride = (collectives.rank, collectives.world_size) if sharded else (0, 1)

        def table(total: int, dim: int, seed: int) -> EmbeddingTable:
            rows = range(first, total, stride)
            return EmbeddingTable(rows, dim, std=model.init_std, seed=seed, dtype=dtype, device=device)

        backbone = self.tower.module
        self.embeddings: EmbeddingStore = (ShardedStore if sharded else ReplicatedStore)(
            table(num_users, backbone.user_dim, seeds[1]),
            table(num_items, backbone.item_dim, seeds[2]),
            optimizer,
            collectives,
        )
        if factors is not None:
            maps = self.tower.extra(MAPS[0]), self.tower.extra(MAPS[1])
            dropout = RowDropout(model.row_dropout, seed) if model.row_dropout else None
            self.embeddings = FactoredStore(self.embeddings, factors, maps, dropout)
        self.drops_rows = factors is not None and model.row_dropout > 0
        self.step = 0

    @property
    def users(self) -> EmbeddingTable:
        """The user rows held here."""
        return self.embeddings.users

    @property
    def items(self) -> EmbeddingTable:
        """The item rows held here."""
        return self.embeddings.items

    @property
    def num_parameters(self) -> int:
        """How many numbers are learnt: the rows of all ranks, and the tower."""
        return sum(table.rows.stop * table.dim for table in (self.users, self.items)) + self.tower.size

    @property
    def factors(self) -> tuple[RowFactors, RowFactors] | None:
        """Exposure factors of user and of item rows; None where the model takes none."""
        return self.embeddings.factors if isinstance(self.embeddings, FactoredStore) else None

    def gather(self, plan: IndexPlan, *, whole: bool = True) -> GatheredBatch:
        """Gathers the rows of this rank's pairs as leaves for autograd, `whole` where an Adam step on them follows."""
        return self.embeddings.gather(plan, step=self.step, whole=whole)

    def reduce(self, found: PassResult, gathered: GatheredBatch, *, capacity: int) -> Gradients:
        """Averages what a pass found over ranks.

        Args:
            found: Gradients of this rank, times world_size.
            gathered: The rows of the pass.
            capacity: Most pairs that any rank has in this batch.
        """
        return self.embeddings.reduce(
            gathered, (found.users, found.items), self.tower.flatten(found.tower), capacity=capacity
        )

    def apply(self, gradients: Gradients, gathered: GatheredBatch) -> None:
        """Takes one Adam step on tower and rows; `gathered` are those of this rank's batch, as they stand."""
        self.step += 1
        self.embeddings.adam_step(gradients, step=self.step, gathered=gathered)
        self.tower.adam_step(gradients.tower, step=self.step, optimizer=self.optimizer)

    def announce(self, plan: IndexPlan) -> None:
        """Tells the journals of both tables of the rows that a step is about to change by itself."""
        self.users.announce(plan.users.ids)
        self.items.announce(plan.items.ids)

    def materialize(self) -> None:
        """Brings every row up to date, so that whole tables can be read."""
        self.users.materialize(step=self.step, optimizer=self.optimizer)
        self.items.materialize(step=self.step, optimizer=self.optimizer)

    @torch.no_grad()
    def score(self, user_ids: Tensor, item_ids: Tensor, *, materialized: bool = True) -> Tensor:
        """Computes the logits [B] of pairs, int64 [B]. Collective where rows are sharded.

        Call `materialize` first, or say that it was not called; then copies of the rows are brought up to date.
        """
        codes = () if self.features is None else self.features.codes(user_ids, item_ids)
        rows = self.embeddings.weights(user_ids, item_ids, step=None if materialized else self.step)
        return self.tower.module(*rows, *codes)
