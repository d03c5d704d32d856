"""Whole steps of one process on a GPU as CUDA graphs: what is launched is one graph, not hundreds of kernels.

A graph is of fixed lengths. The distinct rows of a batch are never more than its pairs, so that their numbers are
filled up to the number of pairs with a spare row behind the table's last one: it is 0, no pair uses it, its gradient
is 0, and so it stays 0.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch.nn.functional as F
from torch import Tensor

from distributed_il.core.config import OptimizerConfig
from distributed_il.data.features import Features
from distributed_il.data.loading.index_plan import Overlap, PairPlan, RowPlan
from distributed_il.methods.steps.fused import STATE, FusedSteps, Look
from distributed_il.methods.steps.graphing import Graphs
from distributed_il.models.embedding.table import EmbeddingTable
from distributed_il.models.tower import Tower


@dataclass(frozen=True, slots=True)
class FullLook(Look):
    """What an inverse step with a full batch knows.

    Attributes:
        pairs: The unlabelled pairs, filled up as δ is.
    """

    pairs: PairPlan


class GraphedSteps:
    """`FusedSteps` whose full batches are replayed as CUDA graphs. Others, and all where that fails, run as there."""

    def __init__(
        self,
        users: EmbeddingTable,
        items: EmbeddingTable,
        tower: Tower,
        optimizer: OptimizerConfig,
        *,
        batch_size: int,
        say: Callable[[str], None],
        features: Features | None = None,
    ) -> None:
        """Prepares compilation and recording; they happen at the first two calls of each function.

        Args:
            users: The user table.
            items: The item table.
            tower: The tower.
            optimizer: The `optimizer` section of the run.
            batch_size: Labelled rows of a full batch.
            say: Told why compilation or recording failed, if it does.
            features: Side features that the backbone is given, if any.
        """
        self._graphs = Graphs(say)
        self._any = FusedSteps(users, items, tower, optimizer, say, features)
        self._full = self._any.through(lambda function: self._graphs.graphed(function, fixed=STATE))
        self._batch_size, self._spares = batch_size, (users.num_rows, items.num_rows)

    @staticmethod
    def fits(*plans: PairPlan) -> bool:
        """See `FusedSteps.fits`."""
        return FusedSteps.fits(*plans)

    def plain(self, plan: PairPlan, labels: Tensor, scale: float, step: int) -> Tensor:
        """See `FusedSteps.plain`."""
        if not self._is_full(labels):
            return self._any.plain(plan, labels, scale, step)
        return self._full.plain(filled_up(plan, self._spares), labels, scale, step).clone()

    def look(
        self,
        pairs: PairPlan,
        weight: Tensor,
        pair_scale: float,
        plan: PairPlan,
        overlap: Overlap,
        labels: Tensor,
        direction: Callable[[Tensor], Tensor],
        step: int,
    ) -> Look:
        """See `FusedSteps.look`; what is returned, but for the logits, holds until the next call."""
        if not self._is_full(labels):
            return self._any.look(pairs, weight, pair_scale, plan, overlap, labels, direction, step)
        pairs, plan = filled_up(pairs, self._spares), filled_up(plan, self._spares)
        overlap = Overlap(_to_length(overlap.users, len(labels), -1), _to_length(overlap.items, len(labels), -1))
        look = self._full.look(pairs, weight, pair_scale, plan, overlap, labels, direction, step)
        return FullLook(look.logits.clone(), look.sums, look.deltas, pairs)

    def shift(self, look: Look, sign: float, pairs: PairPlan, step: int) -> None:
        """See `FusedSteps.shift`."""
        if isinstance(look, FullLook):
            self._full.shift(look, sign, look.pairs, step)
        else:
            self._any.shift(look, sign, pairs, step)

    def _is_full(self, labels: Tensor) -> bool:
        return len(labels) == self._batch_size and not self._graphs.failed


def filled_up(plan: PairPlan, spares: tuple[int, int]) -> PairPlan:
    """A plan with as many row numbers as pairs.

    Args:
        plan: Of some pairs.
        spares: The row numbers to fill up with: of users, of items.
    """
    sides = zip((plan.users, plan.items), spares, strict=True)
    return PairPlan(*(RowPlan(_to_length(side.ids, len(side.inverse), spare), side.inverse) for side, spare in sides))


def _to_length(values: Tensor, length: int, value: int) -> Tensor:
    return F.pad(values, (0, length - len(values)), value=value)
