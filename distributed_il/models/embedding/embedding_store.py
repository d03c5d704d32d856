"""The interface to the embedding rows of all ranks, whichever rank holds them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

from torch import Tensor

from distributed_il.data.features import Codes, Features
from distributed_il.data.loading.index_plan import IndexPlan
from distributed_il.models.embedding.table import EmbeddingTable, GatheredRows, RowGradients


class PairRows(NamedTuple):
    """What a tower is given for some pairs, as tensors alone."""

    users: Tensor  # weights of the distinct user rows, detached [U, user_dim]
    items: Tensor  # weights of the distinct item rows, detached [U', item_dim]
    user_inverse: Tensor  # index into `users` of each pair's row, int64 [B]
    item_inverse: Tensor  # index into `items` of each pair's row, int64 [B]
    codes: Codes  # side features of each pair; empty where the backbone is given none


class RowDeltas(NamedTuple):
    """δ of distinct rows."""

    users: Tensor  # of user rows, [U, user_dim]
    items: Tensor  # of item rows, [U', item_dim]


@dataclass(frozen=True, slots=True)
class GatheredBatch:
    """The user rows and item rows that a batch touches."""

    users: GatheredRows
    items: GatheredRows

    @property
    def leaves(self) -> tuple[Tensor, Tensor]:
        """The weights that gradients flow to: users, items."""
        return self.users.weight, self.items.weight

    @property
    def deltas(self) -> RowDeltas:
        """δ of the rows of a batch that was gathered with it."""
        assert self.users.delta is not None
        assert self.items.delta is not None
        return RowDeltas(self.users.delta, self.items.delta)

    def codes(self, features: Features | None) -> Codes:
        """Returns the side features of each pair; nothing where there are none."""
        if features is None:
            return ()
        return features.codes(self.users.plan.row_numbers, self.items.plan.row_numbers)

    def pair_rows(self, features: Features | None) -> PairRows:
        """Returns the rows as tensors alone, which share memory with the gathered weights."""
        users, items = (leaf.detach() for leaf in self.leaves)
        return PairRows(users, items, self.users.plan.inverse, self.items.plan.inverse, self.codes(features))

    def apply_delta(self, sign: float) -> None:
        """Moves the gathered weights by sign · δ and leaves the tables alone."""
        for leaf, delta in zip(self.leaves, self.deltas, strict=True):
            leaf.detach().add_(delta, alpha=sign)


@dataclass(frozen=True, slots=True)
class Gradients:
    """Gradients of the global batch, or what was made of them."""

    users: RowGradients  # of the user rows that this rank owns
    items: RowGradients  # of the item rows that this rank owns
    tower: Tensor  # of the tower, [P], the same on every rank


class EmbeddingStore(Protocol):
    """Both tables over all ranks. Every rank makes the same calls in the same order.

    Attributes:
        users: The user rows held here.
        items: The item rows held here.
    """

    users: EmbeddingTable
    items: EmbeddingTable

    def prefetch_routes(self, plans: Sequence[IndexPlan]) -> None:
        """Finds the owners of the rows to come, so that no step need send requests.

        The plans are those that `gather` and `gather_with_delta` will be given next; as many on every rank.
        """
        ...

    def gather(self, plan: IndexPlan, *, step: int, whole: bool) -> GatheredBatch:
        """Gathers the rows of this rank's pairs as leaves for autograd, `whole` where an Adam step on them follows."""
        ...

    def gather_with_delta(self, plan: IndexPlan, delta: Gradients, *, step: int) -> GatheredBatch:
        """Gathers the rows of some pairs for an Adam step, with δ, whichever rank's unlabelled batch touched them.

        Args:
            plan: The pairs of this rank.
            delta: δ, of the rows that `reduce` left here.
            step: Optimiser steps taken so far.
        """
        ...

    def reduce(
        self, gathered: GatheredBatch, rows: tuple[Tensor, Tensor], tower: Tensor | None, *, capacity: int
    ) -> Gradients:
        """Averages gradients over ranks: Σ_ranks gradient / world_size.

        Args:
            gathered: The rows of this rank's batch.
            rows: Gradients of `gathered.leaves`.
            tower: Gradient of the tower [P]; None where there is nothing to average.
            capacity: Most pairs that any rank has in this batch.
        """
        ...

    def apply_delta(self, delta: Gradients, sign: float, *, step: int, gathered: GatheredBatch) -> None:
        """Moves the weights of all touched rows by sign · δ; moments stay.

        Args:
            delta: δ, of the rows that `reduce` left here.
            sign: −1 or 1.
            step: Optimiser steps taken so far.
            gathered: The rows of the batch that δ came from, as `gather` left them.
        """
        ...

    def adam_step(self, gradients: Gradients, *, step: int, gathered: GatheredBatch) -> None:
        """Takes one Adam step on all touched rows.

        Args:
            gradients: From `reduce`.
            step: t, counted from 1: this step's number.
            gathered: The rows of this rank's batch, up to date.
        """
        ...

    def weights(self, user_ids: Tensor, item_ids: Tensor, *, step: int | None = None) -> tuple[Tensor, Tensor]:
        """Reads the weights of some pairs' rows, [B, dim] each; a collective call, with pairs of this rank or none.

        Args:
            user_ids: int64 [B].
            item_ids: int64 [B].
            step: Step to bring what is read up to; None where the tables are up to date.
        """
        ...
