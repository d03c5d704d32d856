"""Who was shown what: exposures as lists of items for each user and lists of users for each item."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from distributed_il.core.radix_sort import argsort_below

Int64 = NDArray[np.int64]
Int32 = NDArray[np.int32]

_CHUNK = 1 << 22
"""Entries that are turned at a time."""


@dataclass(frozen=True, eq=False, slots=True)
class Neighbours:
    """For each row a list of ids of the other side (compressed sparse rows). The arrays may be memory-mapped."""

    offsets: Int64
    """int64 [rows + 1]: row r has ids[offsets[r] : offsets[r + 1]]."""
    ids: Int32
    """int32 [entries]."""

    def __post_init__(self) -> None:
        if self.offsets.dtype != np.int64 or self.offsets.ndim != 1 or self.offsets.size == 0:
            raise ValueError(f"offsets must be int64 [rows + 1], not {self.offsets.dtype} {self.offsets.shape}")
        if self.ids.dtype != np.int32 or self.ids.ndim != 1:
            raise ValueError(f"ids must be int32 [entries], not {self.ids.dtype} {self.ids.shape}")
        if self.offsets[0] != 0 or self.offsets[-1] != self.ids.size:
            raise ValueError(
                f"offsets run from {self.offsets[0]} to {self.offsets[-1]}; they must run from 0 to {self.ids.size}"
            )

    @property
    def rows(self) -> int:
        """Rows, with and without neighbours."""
        return self.offsets.size - 1

    def degrees(self) -> Int64:
        """Length of each row's list, int64 [rows]."""
        return np.diff(self.offsets)


@dataclass(frozen=True, eq=False, slots=True)
class Exposures:
    """The exposures R from both sides: R_ui counts in how many of the indexes the pair (u, i) stands."""

    by_user: tuple[Neighbours, ...]
    """Items of each user, in one or several indexes of the same users."""
    by_item: tuple[Neighbours, ...]
    """Users of each item: the same pairs from the other side, in as many indexes as it pleases."""

    def __post_init__(self) -> None:
        for name, side in (("by_user", self.by_user), ("by_item", self.by_item)):
            if len({index.rows for index in side}) != 1:
                raise ValueError(f"{name} must hold at least one index, all of as many rows")
        users, items = (sum(index.ids.size for index in side) for side in (self.by_user, self.by_item))
        if users != items:
            raise ValueError(f"by_user holds {users} exposures, by_item {items}")

    @property
    def num_users(self) -> int:
        """Users, with and without exposures."""
        return self.by_user[0].rows

    @property
    def num_items(self) -> int:
        """Items, with and without exposures."""
        return self.by_item[0].rows

    @property
    def total(self) -> int:
        """m, the number of exposures."""
        return sum(index.ids.size for index in self.by_user)

    def user_degrees(self) -> Int64:
        """d_u, the exposures of each user, int64 [num_users]."""
        return _degrees(self.by_user)

    def item_degrees(self) -> Int64:
        """d_i, the exposures of each item, int64 [num_items]."""
        return _degrees(self.by_item)


def _degrees(side: Sequence[Neighbours]) -> Int64:
    return np.stack([index.degrees() for index in side]).sum(axis=0, dtype=np.int64)


def transpose(index: Neighbours, num_columns: int, place: Path | None = None) -> Neighbours:
    """Turns lists of items for each user into lists of users for each item, or the other way round.

    Args:
        index: What to turn, its ids each in [0, num_columns).
        num_columns: Rows of the result.
        place: A file for the result's ids, which are then mapped; without one they are in memory.

    Returns:
        The index from the other side, every list in ascending order.

    Raises:
        ValueError: An id is out of range.
    """
    offsets = np.zeros(num_columns + 1, dtype=np.int64)
    for start in range(0, index.ids.size, _CHUNK):
        ids = index.ids[start : start + _CHUNK]
        if ids.min() < 0 or ids.max() >= num_columns:
            raise ValueError(f"ids must be in [0, {num_columns}), not {ids.min()} to {ids.max()}")
        offsets[1:] += np.bincount(ids, minlength=num_columns)
    np.cumsum(offsets, out=offsets)
    turned = int32_array(index.ids.size, place)
    # The rows come in ascending order; each entry goes to the next free place of its column.
    free = offsets[:-1].copy()
    for start in range(0, index.ids.size, _CHUNK):
        columns = index.ids[start : start + _CHUNK].astype(np.int64)
        order = argsort_below(columns, num_columns)
        columns = columns.take(order)
        counts = np.bincount(columns, minlength=num_columns)
        firsts = np.cumsum(counts) - counts
        places = free.take(columns) + np.arange(columns.size) - firsts.take(columns)
        turned[places] = rows_of(index.offsets, start, start + columns.size).take(order)
        free += counts
    return Neighbours(offsets, turned)


def rows_of(offsets: Int64, start: int, stop: int) -> Int32:
    """The rows to which the entries start .. stop - 1 belong.

    Args:
        offsets: int64 [rows + 1] of an index.
        start: First entry.
        stop: One past the last.

    Returns:
        int32 [stop - start].
    """
    first = int(np.searchsorted(offsets, start, side="right")) - 1
    last = int(np.searchsorted(offsets, stop, side="left"))
    counts = np.diff(np.clip(offsets[first : last + 1], start, stop))
    return np.repeat(np.arange(first, last, dtype=np.int32), counts)


def int32_array(size: int, place: Path | None) -> Int32:
    """An int32 array to fill, mapped from a new file where a place is given."""
    if place is None or size == 0:
        return np.empty(size, dtype=np.int32)
    return np.memmap(place, dtype=np.int32, mode="w+", shape=(size,))
