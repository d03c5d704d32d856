"""Lanes: the one rule that decides which rows form a global batch, whatever the number of workers.

Row n of a sequence lives in lane n mod V at place n div V. A pass takes the sequence G rows at a time, so batch t has
rows tG … (t+1)G − 1 and takes from each lane the places that follow from that. Rank r of W holds the lanes v with
v mod W = r; as W divides V, it holds exactly the rows n with n mod W = r. Inside a lane the order is shuffled anew each
round; because every lane is shuffled alone, the rows of a batch do not depend on W.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from distributed_il.core.counter_rng import ORDER, SPLIT, hash_u64, uniform_below
from distributed_il.core.radix_sort import argsort_below

Int64 = NDArray[np.int64]
Bool = NDArray[np.bool_]


def lanes_of_rank(num_lanes: int, rank: int, world_size: int) -> range:
    """Returns the lanes that a rank, 0 … W − 1, holds of V.

    Raises:
        ValueError: W does not divide V.
    """
    if num_lanes % world_size:
        raise ValueError(f"{world_size} workers do not divide {num_lanes} lanes")
    return range(rank, num_lanes, world_size)


def worker_counts(num_lanes: int, global_batch: int, *, at_least: int, at_most: int) -> list[int]:
    """Lists the numbers of workers, `at_least` to `at_most`, that share lanes and global batches evenly, ascending."""
    return [count for count in range(at_least, at_most + 1) if num_lanes % count == 0 and global_batch % count == 0]


def rows_in_lane(total: int, lane: int, num_lanes: int) -> int:
    """Returns how many of the first `total` rows of a sequence live in a lane."""
    return (total - lane + num_lanes - 1) // num_lanes if total > lane else 0


@dataclass(frozen=True, slots=True)
class TestSlots:
    """The split of the training rows into training-train and training-test.

    Of every 1/share consecutive places one is drawn, by (seed, slot), for all lanes alike; rows were shuffled at
    preparation, so this is a random sample. Because lanes are cut alike, both parts keep the lanes' form.

    Attributes:
        seed: Seed of the run.
        share: Share of training-test, above 0 and up to 0.5.
    """

    seed: int
    share: float

    def mask(self, start: int, stop: int) -> Bool:
        """Tells which places of a lane, from `start` to below `stop`, are training-test: bool [stop − start]."""
        mask = np.zeros(stop - start, dtype=np.bool_)
        drawn = self._drawn(int(start * self.share), int(stop * self.share) + 1)
        mask[drawn[(drawn >= start) & (drawn < stop)] - start] = True
        return mask

    def count_before(self, place: int) -> int:
        """Returns how many of the places below `place` are training-test."""
        slot = max(int(place * self.share) - 1, 0)
        return slot + int(np.count_nonzero(self._drawn(slot, slot + 3) < place))

    def rows(self, total: int, num_lanes: int) -> int:
        """Returns how many of `total` rows are training-test."""
        full, rest = divmod(total, num_lanes)
        return self.count_before(full) * num_lanes + rest * int(self.mask(full, full + 1)[0])

    def _drawn(self, first: int, stop: int) -> Int64:
        """The place drawn in each of the slots first … stop − 1."""
        slots = np.arange(first, stop + 1, dtype=np.int64)
        bounds = np.ceil(slots / self.share - 1e-9).astype(np.int64)
        lengths = np.diff(bounds)
        return bounds[:-1] + uniform_below(hash_u64(self.seed, SPLIT, slots[:-1]), lengths)


@dataclass(frozen=True, slots=True)
class Schedule:
    """The global batches of one pass.

    Attributes:
        total: Rows of the pass over all lanes.
        global_batch: G, rows of a global batch; the last one may be smaller.
        num_lanes: V.
        world_size: W.
    """

    total: int
    global_batch: int
    num_lanes: int
    world_size: int

    @property
    def steps(self) -> int:
        """Global batches of the pass."""
        return math.ceil(self.total / self.global_batch)

    def rows_before(self, step: int) -> int:
        """Returns the rows of the pass before a step."""
        return min(step * self.global_batch, self.total)

    def lane_rows_before(self, step: int, lane: int) -> int:
        """Returns the rows of one lane before a step."""
        return rows_in_lane(self.rows_before(step), lane, self.num_lanes)

    def global_count(self, step: int) -> int:
        """Returns the rows of the global batch."""
        return self.rows_before(step + 1) - self.rows_before(step)

    def capacity(self, step: int) -> int:
        """Returns the most rows that any rank has of the global batch."""
        return math.ceil(self.global_count(step) / self.world_size)


def row_keys(row_numbers: Int64, *, seed: int, round: int) -> NDArray[np.uint64]:
    """Returns the sort keys of a lane's rows in a round: distinct hashes of (seed, round, global row number).

    Args:
        row_numbers: Global row numbers, int64 [n].
        seed: Seed of the run.
        round: The round, from 0.

    Returns:
        uint64 [n], uniform.
    """
    return hash_u64(seed, ORDER, round, row_numbers)


def row_order(row_numbers: Int64, *, seed: int, round: int) -> Int64:
    """Returns the order of a lane's rows in a round, a permutation of 0 … n − 1, int64 [n]; see `row_keys`."""
    return key_order(row_keys(row_numbers, seed=seed, round=round))


def key_order(keys: NDArray[np.uint64]) -> Int64:
    """Returns the order of keys from `row_keys`, int64 [n]."""
    half = 32
    order = argsort_below(keys >> np.uint64(half), 1 << half)
    # By their upper halves the keys are all but sorted already, and NumPy's stable sort is quick at the rest.
    return order.take(np.argsort(keys.take(order), kind="stable"))


def block_order(num_blocks: int, *, seed: int, round: int) -> list[int]:
    """Returns the order of the blocks of every lane in a round, from 0; `num_blocks` are those of the longest lane."""
    # Row numbers are never negative, so these counters are not used for rows.
    return np.argsort(hash_u64(seed, ORDER, round, -1 - np.arange(num_blocks)), kind="stable").tolist()
