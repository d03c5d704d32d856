"""Splits rows at random, by time, or by the last rows of each user."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from distributed_il.core.counter_rng import SPLIT, hash_u64
from distributed_il.data.prepare.build.gather import Gathered
from distributed_il.data.prepare.build.options import UNASSIGNED, BuildOptions
from distributed_il.data.prepare.build.record_buckets import Records

_TRAIN, _VALID, _TEST = 0, 1, 2
_DIGIT_BITS, _BITS = 16, 64
_FEW = 1 << 20
"""So many numbers are sorted instead."""

Pieces = Callable[[], Iterable[NDArray[np.uint64]]]
"""Yields all numbers, uint64, the same at every call."""


class Splitter(Protocol):
    """Splits the rows of one bucket of users after the other."""

    def assign(self, labelled: Records, unclear: Records) -> NDArray[np.bool_]:
        """Splits labelled rows, and tells which unclear ones of the same users training may know of.

        Args:
            labelled: Unassigned rows, by (user, item); their `split` is filled in.
            unclear: Unclear rows of the same users.

        Returns:
            bool [unclear]: not from the time of valid and test.
        """
        ...


def make_splitter(gathered: Gathered, rows: int, options: BuildOptions, *, test_is_given: bool) -> Splitter:
    """Makes the splitter that the options ask for, of `rows` unassigned labelled rows.

    Where `test_is_given`, these go to train and valid alone.
    """
    train, valid = options.shares
    shares = (train / (train + valid), 1.0 - train / (train + valid)) if test_is_given else options.shares
    if options.split == "time":
        return _ByTime(gathered, rows, shares)
    if options.split == "last":
        return _LastOut(test_is_given)
    return _AtRandom(RandomSplit(rows, shares, options.seed))


class RandomSplit:
    """Splits N numbered rows at random, with exact numbers of rows.

    A row's hash decides: the smallest go to train, the next ones to valid. The two bounds are exact order statistics
    of all N hashes, found by counting, so that nothing has to be sorted or kept.
    """

    def __init__(self, num_rows: int, shares: tuple[float, float], seed: int, *, chunk_rows: int = 1 << 20) -> None:
        """Finds the bounds, with `chunk_rows` hashes in memory at a time.

        `shares` are those of train and of valid; test gets the rest. Numbers of rows are rounded.
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


class _AtRandom:
    def __init__(self, split: RandomSplit) -> None:
        self._split, self._done = split, 0

    def assign(self, labelled: Records, unclear: Records) -> NDArray[np.bool_]:
        labelled["split"] = self._split.splits(self._done, labelled.size)
        self._done += labelled.size
        return np.ones(unclear.size, dtype=np.bool_)


class _ByTime:
    """The earliest share goes to train, the next to valid; rows of one moment stay together, in the later split."""

    def __init__(self, gathered: Gathered, rows: int, shares: tuple[float, float]) -> None:
        ends = (round(rows * shares[0]), round(rows * sum(shares)))
        self._bounds = np.array([order_statistic(lambda: _times(gathered), end) for end in ends], dtype=np.uint64)

    def assign(self, labelled: Records, unclear: Records) -> NDArray[np.bool_]:
        labelled["split"] = np.searchsorted(self._bounds, labelled["time"], side="right")
        return unclear["time"] < self._bounds[0]


def _times(gathered: Gathered) -> Iterator[NDArray[np.uint64]]:
    for bucket in gathered.buckets:
        for records in bucket.chunks():
            yield records["time"][(records["split"] == UNASSIGNED) & (records["label"] >= 0)]


class _LastOut:
    """A user's latest row goes to test, the one before to valid; of two at one moment, the later in the source.

    Users of fewer than three labelled rows (two, where test is given) stay in train.
    """

    def __init__(self, test_is_given: bool) -> None:
        self._held_out = (_VALID,) if test_is_given else (_TEST, _VALID)

    def assign(self, labelled: Records, unclear: Records) -> NDArray[np.bool_]:
        order = np.lexsort((labelled["key"], labelled["time"], labelled["user"]))
        users = labelled["user"][order]
        ends = np.searchsorted(users, users, side="right")
        rows = ends - np.searchsorted(users, users, side="left")
        from_end = ends - 1 - np.arange(users.size)
        splits = np.zeros(users.size, dtype=np.int8)
        for place, split in enumerate(self._held_out):
            splits[(from_end == place) & (rows > len(self._held_out))] = split
        labelled["split"][order] = splits
        first_held = np.flatnonzero((splits != _TRAIN) & (from_end == len(self._held_out) - 1))
        return _before(unclear, users[first_held], labelled["time"][order[first_held]])


def _before(unclear: Records, users: NDArray[np.int32], times: NDArray[np.uint64]) -> NDArray[np.bool_]:
    """Returns which unclear rows come before the time of their user; all do whose user has none."""
    if not users.size:
        return np.ones(unclear.size, dtype=np.bool_)
    place = np.minimum(np.searchsorted(users, unclear["user"]), users.size - 1)
    return (users[place] != unclear["user"]) | (unclear["time"] < times[place])


def order_statistic(pieces: Pieces, rank: int) -> int:
    """Finds the number of a rank, from 0, among more numbers than memory holds, by counting digits.

    It is the number that has this place when all are sorted; 2**64 − 1 where there are not more than `rank`.
    """
    prefix = 0
    for shift in range(_BITS - _DIGIT_BITS, -1, -_DIGIT_BITS):
        counts = np.zeros(1 << _DIGIT_BITS, dtype=np.int64)
        for numbers in pieces():
            digits = _within(numbers, prefix, shift + _DIGIT_BITS) >> np.uint64(shift)
            counts += np.bincount((digits & np.uint64((1 << _DIGIT_BITS) - 1)).astype(np.int64), minlength=counts.size)
        ends = np.cumsum(counts)
        if rank >= ends[-1]:
            return 2**_BITS - 1
        digit = int(np.searchsorted(ends, rank, side="right"))
        rank -= int(ends[digit] - counts[digit])
        prefix = (prefix << _DIGIT_BITS) | digit
        if counts[digit] <= _FEW:
            near = [_within(numbers, prefix, shift) for numbers in pieces()]
            return int(np.sort(np.concatenate(near))[rank])
    return prefix


def _within(numbers: NDArray[np.uint64], prefix: int, shift: int) -> NDArray[np.uint64]:
    """Returns the numbers that begin with these digits."""
    return numbers if shift == _BITS else numbers[(numbers >> np.uint64(shift)) == prefix]
