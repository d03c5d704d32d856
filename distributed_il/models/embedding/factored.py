"""Exposure factors in the rows: w_eff = w + z·A, on the distinct rows of a batch, for whatever backbone.

z are a row's fixed factors (Koren, KDD 2008: who rated what is information, whatever the rating), A is one learned
matrix a table, which lies in the tower's flat vector. Its gradient, ∇A = Zᵀ·∇w_eff, is formed outside autograd from the
rows of this rank's batch and travels with the tower's.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from distributed_il.core.counter_rng import ROW_DROPOUT, hash_u64
from distributed_il.data.loading.index_plan import IndexPlan, UniqueIds
from distributed_il.models.embedding.embedding_store import EmbeddingStore, GatheredBatch, Gradients
from distributed_il.models.embedding.table import GatheredRows

MAPS = ("factors.users", "factors.items")
"""Names of A among the tower's extras, [k, width of a row] each."""
_ROWS_AT_ONCE = 65_536
"""Factors looked at together: they may be larger than memory."""


@dataclass(frozen=True, slots=True)
class RowFactors:
    """z of one table's rows.

    Attributes:
        raw: Unscaled factors, float32 [rows, k]; may be memory-mapped. 0 for rows without exposures.
        deviation: Deviation of each column, [k]: the scale on which `clip` holds.
        clip: Bound of a factor in deviations.
        scale: What the bounded factors are multiplied by.
    """

    raw: Tensor
    deviation: Tensor
    clip: float
    scale: float
    _bound: Tensor = field(init=False)
    _factor: Tensor = field(init=False)

    def __post_init__(self) -> None:
        # What is the same at every step.
        object.__setattr__(self, "_bound", self.clip * self.deviation)
        object.__setattr__(self, "_factor", self.scale / self.deviation)

    def of(self, ids: Tensor) -> Tensor:
        """Returns z of some rows, [U, k] of the dtype of `deviation`.

        Args:
            ids: Row numbers, int64 [U].
        """
        factors = self.raw.index_select(0, ids).to(self.deviation.dtype)
        return factors.clamp_(-self._bound, self._bound).mul_(self._factor)

    def exposed(self) -> NDArray[np.bool_]:
        """Returns whether rows have a factor other than 0, and so an exposure, bool [rows]."""
        return torch.cat([part.any(dim=1) for part in self.raw.split(_ROWS_AT_ONCE)]).cpu().numpy()

    def of_plan(self, plan: UniqueIds) -> Tensor:
        """Returns z of a batch's rows, [U, k]: what was gathered ahead, or else now."""
        return self.of(plan.ids) if plan.factors is None else plan.factors


class Factors(NamedTuple):
    """z of both tables, and λ of the maps A: what makes factors safe on sparse logs."""

    users: RowFactors
    items: RowFactors
    weight_decay: float


@dataclass(frozen=True, slots=True)
class RowDropout:
    """Leaves out rows' own parts w in training, by a hash of (seed, step, table, row) and nothing else.

    So a row is left out for all candidates of a step, for its labelled and its unlabelled pairs, and on all ranks, or
    for none. What is kept is not scaled up (as in DropoutNet, Volkovs et al., NeurIPS 2017, for cold ids).

    Attributes:
        rate: Probability of being left out, in [0, 1).
        seed: Seed of the run.
    """

    rate: float
    seed: int

    def kept(self, table: int, ids: Tensor, step: int) -> Tensor:
        """Returns whether rows are kept, bool [U, 1].

        Args:
            table: 0 for users, 1 for items.
            ids: Row numbers, int64 [U].
            step: Optimiser steps taken so far.
        """
        hashes = hash_u64(self.seed, ROW_DROPOUT, step, table, ids.cpu().numpy())
        kept = hashes >= np.uint64(min(int(self.rate * 2.0**64), 2**64 - 1))
        return torch.from_numpy(kept).to(ids.device).unsqueeze(1)


@dataclass(frozen=True, slots=True)
class FactoredBatch(GatheredBatch):
    """Rows whose leaves are w + z·A, and whose δ, in an inverse step, is δ_w + z·δ_A: no row of the batch stays.

    Attributes:
        own: The rows w, as the store beneath gathered them.
        factors: z of users and items, [U, k] each.
        kept: Whether rows' own parts take part, bool [U, 1] each; None where all do.
    """

    own: GatheredBatch
    factors: tuple[Tensor, Tensor]
    kept: tuple[Tensor, Tensor] | None

    def apply_delta(self, sign: float) -> None:
        GatheredBatch.apply_delta(self, sign)
        self.own.apply_delta(sign)


class FactoredStore:
    """An `EmbeddingStore` over another one, whose rows it adds z·A to.

    Attributes:
        users: The user rows w held here.
        items: The item rows w held here.
        factors: Of users and of items.
    """

    def __init__(
        self,
        store: EmbeddingStore,
        factors: Factors,
        maps: tuple[Tensor, Tensor],
        dropout: RowDropout | None = None,
    ) -> None:
        """Wraps a store.

        Args:
            store: Holds w.
            factors: Of users and of items.
            maps: A of users and of items, [k, width] each; views of the tower's weights.
            dropout: Leaves out rows' own parts; None for none.
        """
        self._store, self.factors, self._maps = store, (factors.users, factors.items), maps
        self._dropout = dropout
        self.users, self.items = store.users, store.items

    def prefetch_routes(self, plans: Sequence[IndexPlan]) -> None:
        self._store.prefetch_routes(plans)

    def gather(self, plan: IndexPlan, *, step: int, whole: bool) -> GatheredBatch:
        return self._with_factors(self._store.gather(plan, step=step, whole=whole), step)

    def gather_with_delta(self, plan: IndexPlan, delta: Gradients, *, step: int) -> GatheredBatch:
        own = self._store.gather_with_delta(plan, delta, step=step)
        sizes = [part.numel() for part in self._maps]
        return self._with_factors(own, step, delta.tower[-sum(sizes) :].split(sizes))

    def reduce(
        self, gathered: GatheredBatch, rows: tuple[Tensor, Tensor], tower: Tensor | None, *, capacity: int
    ) -> Gradients:
        assert isinstance(gathered, FactoredBatch)
        maps = [(z.T @ gradient).reshape(-1) for z, gradient in zip(gathered.factors, rows, strict=True)]
        dense = torch.cat(maps if tower is None else [tower, *maps])
        if gathered.kept is not None:
            rows = rows[0] * gathered.kept[0], rows[1] * gathered.kept[1]
        return self._store.reduce(gathered.own, rows, dense, capacity=capacity)

    def apply_delta(self, delta: Gradients, sign: float, *, step: int, gathered: GatheredBatch) -> None:
        assert isinstance(gathered, FactoredBatch)
        self._store.apply_delta(delta, sign, step=step, gathered=gathered.own)

    def adam_step(self, gradients: Gradients, *, step: int, gathered: GatheredBatch) -> None:
        assert isinstance(gathered, FactoredBatch)
        self._store.adam_step(gradients, step=step, gathered=gathered.own)

    def weights(self, user_ids: Tensor, item_ids: Tensor, *, step: int | None = None) -> tuple[Tensor, Tensor]:
        users, items = self._store.weights(user_ids, item_ids, step=step)
        of_users, of_items = (side.of(ids) for side, ids in zip(self.factors, (user_ids, item_ids), strict=True))
        return users + of_users @ self._maps[0], items + of_items @ self._maps[1]

    def _with_factors(self, own: GatheredBatch, step: int, map_deltas: Sequence[Tensor] | None = None) -> FactoredBatch:
        kept = None
        if self._dropout is not None:
            users, items = own.users.plan.ids, own.items.plan.ids
            kept = self._dropout.kept(0, users, step), self._dropout.kept(1, items, step)
        sides: list[GatheredRows] = []
        factors: list[Tensor] = []
        for k, (rows, side, weights) in enumerate(zip((own.users, own.items), self.factors, self._maps, strict=True)):
            z, part, delta = side.of_plan(rows.plan), rows.weight.detach(), rows.delta
            if kept is not None:
                part, delta = part * kept[k], None if delta is None else delta * kept[k]
            if map_deltas is not None:
                assert delta is not None
                delta = torch.addmm(delta, z, map_deltas[k].view_as(weights))
            weight = torch.addmm(part, z, weights).requires_grad_()
            sides.append(GatheredRows(rows.plan, weight, delta=delta))
            factors.append(z)
        return FactoredBatch(sides[0], sides[1], own, (factors[0], factors[1]), kept)
