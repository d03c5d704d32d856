"""A window's batches: rows and pairs of consecutive steps, turned into tensors and index plans at once."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from distributed_il.data.lanes import Schedule
from distributed_il.data.loading.batch import Batch, Phase, Unlabelled
from distributed_il.data.loading.index_plan import (
    IndexPlan,
    Overlap,
    UniqueIds,
    WindowPlan,
    plan_window,
    window_positions,
)
from distributed_il.data.sampling import UnlabelledPairs

Int64 = NDArray[np.int64]
FactorLookup = Callable[[Tensor], Tensor]
"""Exposure factors z of rows of a table, [U, k], by row number, int64 [U]."""


@dataclass(frozen=True, slots=True)
class WindowRows:
    """The labelled rows of consecutive steps, step after step, and the pairs drawn for them."""

    numbers: Int64  # global row numbers, int64 [n]
    user_ids: Int64  # int64 [n]
    item_ids: Int64  # int64 [n]
    labels: NDArray[np.integer]  # 0 or 1, [n]
    bounds: Sequence[int]  # where each step begins, [S + 1]
    # `rate` unlabelled pairs for each row, in the order of the rows; None where the phase uses none
    pairs: UnlabelledPairs | None
    rate: int  # pairs for each row
    weights: NDArray[np.floating] | None = None  # of each row, [n]; None for none


class BatchMaker:
    """Makes batches of windows."""

    def __init__(
        self,
        num_users: int,
        num_items: int,
        *,
        dtype: torch.dtype,
        device: torch.device,
        factors: tuple[FactorLookup, FactorLookup] | None = None,
    ) -> None:
        """Prepares; nothing is made yet.

        Args:
            num_users: Rows of the user table.
            num_items: Rows of the item table.
            dtype: Of labels and pair weights.
            device: Where batches go.
            factors: Exposure factors of user and item rows, to be gathered with the plans; None for none.
        """
        self._num_users, self._num_items = num_users, num_items
        self._dtype, self._device, self._factors = dtype, device, factors

    def batches(self, rows: WindowRows, steps: range, schedule: Schedule, phase: Phase) -> list[Batch]:
        """Cuts a window into batches, each with its plan."""
        columns = [self._tensor(column) for column in (rows.user_ids, rows.item_ids)]
        columns += [self._tensor(rows.labels).to(self._dtype), self._tensor(rows.numbers)]
        if rows.pairs is not None and phase.joined:
            plans = self._plans(*self._joined(rows)).cut()
            unlabelled = self._unlabelled(rows, rows.pairs, plans=None)
        elif rows.pairs is not None:
            own = self._plans(rows.user_ids, rows.item_ids, rows.bounds)
            drawn = self._plans(rows.pairs.user_ids, rows.pairs.item_ids, [bound * rows.rate for bound in rows.bounds])
            plans = own.cut()
            unlabelled = self._unlabelled(rows, rows.pairs, plans=(drawn.cut(), own.overlaps(drawn)))
        else:
            plans = self._plans(rows.user_ids, rows.item_ids, rows.bounds).cut()
            unlabelled = [None] * len(plans)
        weights = self._weights(rows)
        return [
            Batch(
                *(column[start:stop] for column in columns),
                unlabelled=pairs,
                weights=None if weights is None else weights[start:stop],
                global_count=schedule.global_count(step),
                capacity=schedule.capacity(step),
                plan=plan,
            )
            for step, start, stop, pairs, plan in zip(
                steps, rows.bounds[:-1], rows.bounds[1:], unlabelled, plans, strict=True
            )
        ]

    def _unlabelled(
        self,
        rows: WindowRows,
        pairs: UnlabelledPairs,
        *,
        plans: tuple[Sequence[IndexPlan], Sequence[Overlap]] | None,
    ) -> list[Unlabelled]:
        bounds = [bound * rows.rate for bound in rows.bounds]
        users, items = self._tensor(pairs.user_ids), self._tensor(pairs.item_ids)
        weight = self._tensor(pairs.valid).to(self._dtype)
        if (of_rows := self._weights(rows)) is not None:
            weight = weight * of_rows.repeat_interleave(rows.rate)
        valid, fallback = (np.concatenate([[0], np.cumsum(mask)]) for mask in (pairs.valid, pairs.fallback))
        return [
            Unlabelled(
                users[start:stop],
                items[start:stop],
                weight[start:stop],
                rows.rate,
                fallback_pairs=int(fallback[stop] - fallback[start]),
                undrawable=stop - start - int(valid[stop] - valid[start]),
                plan=plans[0][step] if plans else None,
                overlap=plans[1][step] if plans else None,
            )
            for step, (start, stop) in enumerate(pairwise(bounds))
        ]

    def _weights(self, rows: WindowRows) -> Tensor | None:
        return None if rows.weights is None else self._tensor(rows.weights).to(self._dtype)

    @staticmethod
    def _joined(rows: WindowRows) -> tuple[Int64, Int64, list[int]]:
        """Ids of each step's rows followed by its pairs, step after step."""
        assert rows.pairs is not None
        users: list[Int64] = []
        items: list[Int64] = []
        for start, stop in zip(rows.bounds[:-1], rows.bounds[1:], strict=True):
            drawn = slice(start * rows.rate, stop * rows.rate)
            users += [rows.user_ids[start:stop], rows.pairs.user_ids[drawn]]
            items += [rows.item_ids[start:stop], rows.pairs.item_ids[drawn]]
        return np.concatenate(users), np.concatenate(items), [bound * (1 + rows.rate) for bound in rows.bounds]

    def _plans(self, user_ids: Int64, item_ids: Int64, bounds: Sequence[int]) -> _WindowPlans:
        sizes = (self._num_users, self._num_items)
        sides = (plan_window(user_ids, bounds, sizes[0]), plan_window(item_ids, bounds, sizes[1]))
        return _WindowPlans(sides, sizes, bounds, self._device, self._factors)

    def _tensor(self, array: NDArray[np.generic]) -> Tensor:
        return torch.from_numpy(np.ascontiguousarray(array)).to(self._device)


@dataclass(frozen=True, slots=True)
class _WindowPlans:
    """The plans of both tables for the batches of a window."""

    sides: tuple[WindowPlan, WindowPlan]
    sizes: tuple[int, int]
    bounds: Sequence[int]
    device: torch.device
    factors: tuple[FactorLookup, FactorLookup] | None

    def cut(self) -> list[IndexPlan]:
        """Cuts out the plan of each batch."""
        lookups = self.factors or (None, None)
        users, items = (self._unique_ids(*side) for side in zip(self.sides, lookups, strict=True))
        return [IndexPlan(*plans) for plans in zip(users, items, strict=True)]

    def overlaps(self, pairs: _WindowPlans) -> list[Overlap]:
        """Finds the overlap of each batch with its pairs."""
        columns: list[list[Tensor]] = []
        for side, other, size in zip(self.sides, pairs.sides, self.sizes, strict=True):
            positions = torch.from_numpy(window_positions(side, other, size)).to(self.device)
            columns.append(list(positions.split(np.diff(side.id_bounds).tolist())))
        return [Overlap(*tensors) for tensors in zip(*columns, strict=True)]

    def _unique_ids(self, side: WindowPlan, lookup: FactorLookup | None) -> list[UniqueIds]:
        ids, inverse = (torch.from_numpy(array).to(self.device) for array in (side.ids, side.inverse))
        counts = np.diff(side.id_bounds).tolist()
        by_batch = [ids.split(counts), inverse.split(np.diff(self.bounds).tolist())]
        if lookup is not None:
            by_batch.append(lookup(ids).split(counts))
        return [UniqueIds(*tensors) for tensors in zip(*by_batch, strict=True)]
