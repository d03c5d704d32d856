"""Index plans: the distinct rows that a batch touches, and which of them each pair uses. Made ahead of the step."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from distributed_il.core.radix_sort import argsort_below

Int64 = NDArray[np.int64]


class UniqueIds(NamedTuple):
    """The distinct rows of one table that a batch touches."""

    ids: Tensor  # distinct row numbers, ascending, int64 [U]
    inverse: Tensor  # index into `ids` of each pair's row, int64 [B]
    factors: Tensor | None = None  # exposure factors z of the rows, [U, k], if they were gathered ahead

    @classmethod
    def of(cls, row_numbers: Tensor) -> UniqueIds:
        """Finds the distinct rows of a batch, int64 [B]."""
        return cls(*torch.unique(row_numbers, return_inverse=True))

    @property
    def row_numbers(self) -> Tensor:
        """The row of each pair, int64 [B]."""
        return self.ids.index_select(0, self.inverse)


class IndexPlan(NamedTuple):
    """The user rows and the item rows that a batch touches."""

    users: UniqueIds
    items: UniqueIds

    @classmethod
    def of(cls, user_ids: Tensor, item_ids: Tensor) -> IndexPlan:
        """Makes the plan of one batch's ids, int64 [B] each."""
        return cls(UniqueIds.of(user_ids), UniqueIds.of(item_ids))


def positions_among(ids: Tensor, others: Tensor) -> Tensor:
    """Finds the position of each id among others.

    Args:
        ids: int64 [U].
        others: Distinct, ascending, int64 [V].

    Returns:
        Positions, −1 for an id that is absent, int64 [U].
    """
    if not others.numel():
        return torch.full_like(ids, -1)
    position = torch.searchsorted(others, ids).clamp_(max=others.numel() - 1)
    return torch.where(others.index_select(0, position) == ids, position, -1)


def rows_at(positions: Tensor, rows: Tensor) -> Tensor:
    """Selects rows [V, dim] by position, int64 [U], 0 where a position is −1: [U, dim]."""
    if not len(rows):
        return rows.new_zeros((len(positions), rows.shape[1]))
    return rows.index_select(0, positions.clamp(min=0)) * (positions >= 0).unsqueeze(1)


class Overlap(NamedTuple):
    """Positions of a batch's distinct rows among those of its unlabelled pairs, −1 where no pair has a row."""

    users: Tensor  # of each user row, int64 [U]
    items: Tensor  # of each item row, int64 [U']

    @classmethod
    def of(cls, plan: IndexPlan, pairs: IndexPlan) -> Overlap:
        """Finds the overlap of one batch's labelled rows with its unlabelled pairs."""
        return cls(positions_among(plan.users.ids, pairs.users.ids), positions_among(plan.items.ids, pairs.items.ids))


@dataclass(frozen=True, slots=True)
class WindowPlan:
    """The distinct rows of one table in consecutive batches, laid end to end."""

    ids: Int64  # distinct row numbers of each batch, ascending within it, int64
    id_bounds: Int64  # where each batch begins in `ids`, int64 [S + 1]
    inverse: Int64  # index of each pair's row into its own batch's ids, int64 [n]


def plan_window(row_numbers: Int64, bounds: Sequence[int], num_rows: int) -> WindowPlan:
    """Plans one table for several batches with one sort; a loop over batches would hold the interpreter.

    Args:
        row_numbers: Rows of the batches, end to end, int64 [n], each below `num_rows`.
        bounds: Where each batch begins, [S + 1].
        num_rows: Rows of the table; S · num_rows must stay below 2⁶³.
    """
    steps = len(bounds) - 1
    starts = np.arange(steps + 1, dtype=np.int64) * num_rows
    keys = row_numbers + np.repeat(starts[:-1], np.diff(bounds))
    order = argsort_below(keys, steps * num_rows)
    ordered = keys[order]
    first = np.empty(ordered.size, dtype=np.bool_)
    first[:1] = True
    np.not_equal(ordered[1:], ordered[:-1], out=first[1:])
    distinct = ordered[first]
    id_bounds = np.searchsorted(distinct, starts)
    inverse = np.empty_like(keys)
    inverse[order] = np.cumsum(first) - 1
    inverse -= np.repeat(id_bounds[:-1], np.diff(bounds))
    return WindowPlan(distinct - np.repeat(starts[:-1], np.diff(id_bounds)), id_bounds, inverse)


def window_positions(plan: WindowPlan, others: WindowPlan, num_rows: int) -> Int64:
    """Finds the position of each distinct row among the same batch's rows of another plan; see `positions_among`.

    Args:
        plan: Of several batches.
        others: Of the same batches' other rows.
        num_rows: Rows of the table.

    Returns:
        Positions, −1 for a row that is absent, int64, end to end like `plan.ids`.
    """
    starts = np.arange(plan.id_bounds.size - 1, dtype=np.int64) * num_rows
    keys = plan.ids + np.repeat(starts, np.diff(plan.id_bounds))
    known = others.ids + np.repeat(starts, np.diff(others.id_bounds))
    if not known.size:
        return np.full_like(keys, -1)
    position = np.minimum(np.searchsorted(known, keys), known.size - 1)
    local = position - np.repeat(others.id_bounds[:-1], np.diff(plan.id_bounds))
    return np.where(known[position] == keys, local, -1)
