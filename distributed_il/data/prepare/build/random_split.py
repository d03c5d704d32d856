"""A random split with exact shares, decided for each row by its number alone."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from distributed_il.core.counter_rng import SPLIT, hash_u64
from distributed_il.data.prepare.simulate.order_statistic import order_statistic


class RandomSplit:
    """Gives each of N numbered rows its split; exactly so many rows to each.

    A row's hash decides: the smallest go to train, the next ones to valid. The two bounds are exact order statistics
    of all N hashes, found by counting, so that nothing has to be sorted or kept.
    """

    def __init__(self, num_rows: int, shares: tuple[float, float], seed: int, *, chunk_rows: int = 1 << 20) -> None:
        """Finds the bounds.

        Args:
            num_rows: N.
            shares: Of train and of valid; test gets the rest. Numbers of rows are rounded.
            seed: The dataset's seed.
            chunk_rows: Rows whose hashes are in memory at a time.
        """
        self._num_rows, self._seed, self._chunk_rows = num_rows, seed, chunk_rows
        ends = [round(num_rows * shares[0]), round(num_rows * (shares[0] + shares[1]))]
        self.sizes = (ends[0], ends[1] - ends[0], num_rows - ends[1])
        """Rows of train, valid and test."""
        self._bounds = np.array([order_statistic(self._all_hashes, end) for end in ends], dtype=np.uint64)

    def splits(self, first: int, count: int) -> NDArray[np.int8]:
        """Splits of the rows first … first + count − 1: 0 train, 1 valid, 2 test; int8 [count]."""
        return np.searchsorted(self._bounds, self._hashes(first, count), side="right").astype(np.int8)

    def _hashes(self, first: int, count: int) -> NDArray[np.uint64]:
        return hash_u64(self._seed, SPLIT, 0, np.arange(first, first + count, dtype=np.int64))

    def _all_hashes(self) -> Iterator[NDArray[np.uint64]]:
        return (
            self._hashes(first, min(self._chunk_rows, self._num_rows - first))
            for first in range(0, self._num_rows, self._chunk_rows)
        )
