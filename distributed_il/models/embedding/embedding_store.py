"""What a step does with the embedding rows of all ranks, whoever holds them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from torch import Tensor

from distributed_il.data.features import Codes, Features
from distributed_il.data.loading.index_plan import IndexPlan
from distributed_il.models.embedding.table import EmbeddingTable, GatheredRows, RowGradients


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
    def places(self) -> tuple[Tensor, Tensor]:
        """Each pair's place among the distinct rows: users, items, int64 [B]."""
        return self.users.plan.inverse, self.items.plan.inverse

    def codes(self, features: Features | None) -> Codes:
        """Side features of each pair; nothing where there are none."""
        if features is None:
            return ()
        user_ids, item_ids = (side.plan.ids.index_select(0, side.plan.inverse) for side in (self.users, self.items))
        return features.codes(user_ids, item_ids)

    def move(self, shifts: Shifts, sign: float) -> None:
        """Moves the gathered weights by sign · δ; the tables are left alone."""
        self.users.weight.detach().add_(shifts.users, alpha=sign)
        self.items.weight.detach().add_(shifts.items, alpha=sign)


@dataclass(frozen=True, slots=True)
class Gradients:
    """Gradients of the global batch, or what was made of them.

    Attributes:
        users: Of the user rows that this rank owns.
        items: Of the item rows that this rank owns.
        tower: Of the tower, [P], the same on every rank.
    """

    users: RowGradients
    items: RowGradients
    tower: Tensor


@dataclass(frozen=True, slots=True)
class Shifts:
    """δ of a batch's pairs.

    Attributes:
        users: [U, dim] for the distinct user rows of the batch; 0 where no rank's unlabelled batch touched a row.
        items: The same for items.
    """

    users: Tensor
    items: Tensor


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

        Args:
            plans: Those that `gather` and `gather_with_deltas` will be given next; as many on every rank.
        """
        ...

    def gather(self, plan: IndexPlan, *, step: int, whole: bool) -> GatheredBatch:
        """Gathers the rows of some pairs as leaves for autograd.

        Args:
            plan: The pairs of this rank.
            step: Optimiser steps taken so far.
            whole: Whether an Adam step on these rows follows.
        """
        ...

    def gather_with_deltas(self, plan: IndexPlan, delta: Gradients, *, step: int) -> tuple[GatheredBatch, Shifts]:
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

    def shift(self, delta: Gradients, sign: float, *, step: int, gathered: GatheredBatch) -> None:
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

    def weights(self, user_ids: Tensor, item_ids: Tensor) -> tuple[Tensor, Tensor]:
        """Weights of the rows of some pairs, [B, dim] each; every rank calls it, with pairs of its own or none.

        Args:
            user_ids: int64 [B].
            item_ids: int64 [B].
        """
        ...
