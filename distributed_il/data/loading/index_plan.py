"""Index plans: which distinct rows a batch touches, and which of them each pair uses. Made ahead of the step."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from distributed_il.core.radix_sort import argsort_below

Int64 = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class RowPlan:
    """The rows of one table that a batch touches.

    Attributes:
        ids: Distinct row numbers, ascending, int64 [U].
        inverse: Position in `ids` of each pair's row, int64 [B].
    """

    ids: Tensor
    inverse: Tensor


@dataclass(frozen=True, slots=True)
class PairPlan:
    """The user rows and the item rows that some pairs touch."""

    users: RowPlan
    items: RowPlan


def plan_pairs(user_ids: Tensor, item_ids: Tensor) -> PairPlan:
    """Makes the plan of one batch.

    Args:
        user_ids: int64 [B].
        item_ids: int64 [B].
    """
    return PairPlan(
        RowPlan(*torch.unique(user_ids, return_inverse=True)), RowPlan(*torch.unique(item_ids, return_inverse=True))
    )


def places_among(ids: Tensor, others: Tensor) -> Tensor:
    """Place of each id among others, −1 where it is not there.

    Args:
        ids: int64 [U].
        others: Distinct, ascending, int64 [V].

    Returns:
        int64 [U].
    """
    if not others.numel():
        return torch.full_like(ids, -1)
    place = torch.searchsorted(others, ids).clamp_(max=others.numel() - 1)
    return torch.where(others.index_select(0, place) == ids, place, -1)


@dataclass(frozen=True, slots=True)
class Overlap:
    """Where a batch's distinct rows stand among those of its unlabelled pairs.

    Attributes:
        users: Place of each user row, −1 where no pair has it, int64 [U].
        items: The same for items.
    """

    users: Tensor
    items: Tensor

    @classmethod
    def of(cls, plan: PairPlan, pairs: PairPlan) -> Overlap:
        """The overlap of one batch.

        Args:
            plan: Of the batch's rows.
            pairs: Of its unlabelled pairs.
        """
        return cls(places_among(plan.users.ids, pairs.users.ids), places_among(plan.items.ids, pairs.items.ids))


@dataclass(frozen=True, slots=True)
class WindowPlan:
    """The plans of one table for consecutive batches, laid end to end.

    Attributes:
        ids: Distinct row numbers of each batch, ascending within it, int64.
        id_bounds: Where each batch begins in `ids`, int64 [S + 1].
        inverse: Position of each row within its own batch's ids, int64 [n].
    """

    ids: Int64
    id_bounds: Int64
    inverse: Int64


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


def window_places(plan: WindowPlan, others: WindowPlan, num_rows: int) -> Int64:
    """Place of each distinct row among the other plan's of the same batch, −1 where it is not there.

    Args:
        plan: Of several batches.
        others: Of the same batches' other rows.
        num_rows: Rows of the table.

    Returns:
        int64, end to end like `plan.ids`.
    """
    starts = np.arange(plan.id_bounds.size - 1, dtype=np.int64) * num_rows
    keys = plan.ids + np.repeat(starts, np.diff(plan.id_bounds))
    known = others.ids + np.repeat(starts, np.diff(others.id_bounds))
    if not known.size:
        return np.full_like(keys, -1)
    place = np.minimum(np.searchsorted(known, keys), known.size - 1)
    local = place - np.repeat(others.id_bounds[:-1], np.diff(plan.id_bounds))
    return np.where(known[place] == keys, local, -1)
