"""Draws unlabelled pairs without rejection; the pair that a row gets depends on neither batch nor rank."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from distributed_il.core.counter_rng import MIX, UNLABELLED, hash_u64, uniform_below
from distributed_il.core.errors import UserError

Int64 = NDArray[np.int64]
Bool = NDArray[np.bool_]
Source = Literal["sampled", "logged", "both"]
_UNITED_USERS = 65_536
"""Users whose pairs are united at a time."""


@dataclass(frozen=True, eq=False, slots=True)
class PairIndex:
    """(user, item) pairs as one sorted list of items for each user. The arrays may be memory-mapped."""

    indptr: Int64
    """int64 [num_users + 1]: user u has items[indptr[u] : indptr[u + 1]]."""
    items: NDArray[np.int32]
    """int32 [pairs], sorted and unique within a user."""

    def __post_init__(self) -> None:
        if self.indptr.dtype != np.int64 or self.indptr.ndim != 1 or self.indptr.size == 0:
            raise ValueError(f"indptr must be int64 [num_users + 1], not {self.indptr.dtype} {self.indptr.shape}")
        if self.items.dtype != np.int32 or self.items.ndim != 1:
            raise ValueError(f"items must be int32 [pairs], not {self.items.dtype} {self.items.shape}")
        if self.indptr[0] != 0 or self.indptr[-1] != self.items.size:
            raise ValueError(
                f"indptr runs from {self.indptr[0]} to {self.indptr[-1]}; it must run from 0 to {self.items.size} pairs"
            )

    @property
    def num_users(self) -> int:
        """Users, with and without items."""
        return self.indptr.size - 1

    def degrees(self, user_ids: Int64) -> Int64:
        """Returns the number of items of each of these users, int64 [B]."""
        return self.indptr.take(user_ids + 1) - self.indptr.take(user_ids)

    def union(self, other: PairIndex) -> PairIndex:
        """Returns, in memory, the pairs that are in either index; both are of the same users."""
        if other.num_users != self.num_users:
            raise ValueError(f"the indexes have {self.num_users} and {other.num_users} users")
        parts: list[PairIndex] = []
        for first in range(0, self.num_users, _UNITED_USERS):  # not all pairs at once, which takes 24 bytes for each
            users = np.arange(first, min(first + _UNITED_USERS, self.num_users))
            own = [np.repeat(users - first, index.degrees(users)) for index in (self, other)]
            items = [index.items[index.indptr[first] : index.indptr[users[-1] + 1]] for index in (self, other)]
            parts.append(PairIndex.from_pairs(np.concatenate(own), np.concatenate(items), users.size))
        degrees = [np.diff(part.indptr) for part in parts]
        indptr = np.concatenate([[0], *degrees]).cumsum(dtype=np.int64)
        return PairIndex(indptr, np.concatenate([part.items for part in parts]) if parts else self.items)

    @classmethod
    def from_pairs(cls, user_ids: Int64, item_ids: Int64 | NDArray[np.int32], num_users: int) -> PairIndex:
        """Builds the index in memory; a pair that occurs twice counts once.

        Args:
            user_ids: Integers [n], each in [0, num_users).
            item_ids: Integers [n], each in [0, 2**31).
            num_users: Users in all.

        Raises:
            ValueError: Lengths differ or an id is out of range.
        """
        user_ids, item_ids = user_ids.astype(np.int64), item_ids.astype(np.int64)
        if user_ids.shape != item_ids.shape or user_ids.ndim != 1:
            raise ValueError(f"user_ids {user_ids.shape} and item_ids {item_ids.shape} must be of one shape [n]")
        if user_ids.size and (min(user_ids.min(), item_ids.min()) < 0 or user_ids.max() >= num_users):
            raise ValueError(f"ids must be at least 0, and user ids below {num_users}")
        keys = np.sort((user_ids << 31) | item_ids)
        keys = keys[np.concatenate(([True], keys[1:] != keys[:-1]))] if keys.size else keys
        indptr = np.zeros(num_users + 1, dtype=np.int64)
        np.cumsum(np.bincount(keys >> 31, minlength=num_users), out=indptr[1:])
        return cls(indptr=indptr, items=(keys & (2**31 - 1)).astype(np.int32))


@dataclass(frozen=True, eq=False, slots=True)
class UnlabelledPairs:
    """What was drawn for a batch; `rate` neighbouring entries belong to one labelled row."""

    user_ids: Int64
    """int64 [B · rate]."""
    item_ids: Int64
    """int64 [B · rate]; 0 where not valid."""
    valid: Bool
    """bool [B · rate]; False where the user has observed every item, so that there is nothing to draw."""
    fallback: Bool
    """bool [B · rate]; True for a sampled pair drawn as a fallback, because a logged one was wanted and the user has
    none."""

    @property
    def fallback_pairs(self) -> int:
        """Counts the pairs sampled for want of a logged one."""
        return int(np.count_nonzero(self.fallback))

    @property
    def undrawable(self) -> int:
        """Counts the pairs that could not be drawn."""
        return self.valid.size - int(np.count_nonzero(self.valid))


@dataclass(frozen=True, eq=False, slots=True)
class UnlabelledSampler:
    """Draws the unlabelled pairs of labelled rows: items that the user lacks in training, logged pairs, or both.

    Deviation: the paper draws with rejection. Here one uniform number r below the number of the user's missing items
    picks the r-th of them, which is exactly uniform and takes one draw for one pair.
    """

    observed: PairIndex
    """The training pairs."""
    num_items: int
    """Items in all."""
    seed: int
    """Seed of the run."""
    source: Source = "sampled"
    """`sampled`, `logged`, or `both`: a fair coin for each pair."""
    logged: PairIndex | None = None
    """The logged unclear pairs, where `source` asks for them."""
    rate: int = 1
    """Pairs for each labelled row."""

    def __post_init__(self) -> None:
        if self.rate < 1:
            raise ValueError(f"rate is {self.rate}; it must be at least 1")
        if self.source == "sampled":
            return
        if self.logged is None:
            raise UserError(
                f"unlabelled.source is {self.source}, but the dataset has no logged unclear pairs; "
                "set unlabelled.source to sampled, or prepare the dataset with a feedback rule that leaves some unclear"
            )
        if self.logged.num_users != self.observed.num_users:
            raise ValueError(f"logged has {self.logged.num_users} users, observed {self.observed.num_users}")

    def draw(self, user_ids: Int64, row_numbers: Int64, round: int) -> UnlabelledPairs:
        """Draws `rate` pairs for each labelled row, from (seed, round, row number, k) and nothing else.

        Args:
            user_ids: int64 [B], each row's user.
            row_numbers: int64 [B], each row's global number, at least 0.
            round: The round, at least 0.

        Returns:
            The pairs, those of row 0 first.

        Raises:
            ValueError: Shapes or dtypes are not those above.
        """
        _check_rows(user_ids, row_numbers)
        users, rows, draws = self._repeat(user_ids, row_numbers)
        hashes = hash_u64(self.seed, UNLABELLED, round, rows, draws)
        if self.source == "sampled" or self.logged is None:
            items, valid = self._sampled(users, hashes)
            return UnlabelledPairs(users, items, valid, np.zeros(users.size, dtype=np.bool_))
        wanted = np.ones(users.size, dtype=np.bool_)
        if self.source == "both":
            wanted = (hash_u64(self.seed, MIX, round, rows, draws) >> np.uint64(63)).astype(np.bool_)
        available = self.logged.degrees(users)
        is_logged = wanted & (available > 0)
        taken, others = np.flatnonzero(is_logged), np.flatnonzero(~is_logged)
        items, valid = np.empty_like(users), np.ones(users.size, dtype=np.bool_)
        # The same hash serves: of the logged and the sampled item only one is ever used.
        offsets = uniform_below(hashes.take(taken), available.take(taken))
        items[taken] = self.logged.items.take(self.logged.indptr.take(users.take(taken)) + offsets)
        items[others], valid[others] = self._sampled(users.take(others), hashes.take(others))
        return UnlabelledPairs(users, items, valid, wanted & ~is_logged & valid)

    def _sampled(self, users: Int64, hashes: NDArray[np.uint64]) -> tuple[Int64, Bool]:
        """Returns an unobserved item of each user, or 0, and whether there is one."""
        missing = self.num_items - self.observed.degrees(users)
        valid = missing > 0
        items = nth_missing_item(self.observed, users, uniform_below(hashes, np.maximum(missing, 1)))
        items[~valid] = 0
        return items, valid

    def _repeat(self, user_ids: Int64, row_numbers: Int64) -> tuple[Int64, Int64, Int64 | int]:
        if self.rate == 1:
            return user_ids, row_numbers, 0
        draws = np.tile(np.arange(self.rate, dtype=np.int64), user_ids.size)
        return np.repeat(user_ids, self.rate), np.repeat(row_numbers, self.rate), draws


def nth_missing_item(observed: PairIndex, user_ids: Int64, ranks: Int64) -> Int64:
    """Finds the r-th item, in ascending order, that a user has not observed.

    Before the user's j-th observed item there are items[j] − j missing ones, a number that never falls with j.
    So the answer is r + c, where c counts the j with items[j] − j ≤ r, found by binary search in all rows at once.

    Args:
        observed: The observed pairs.
        user_ids: int64 [B].
        ranks: int64 [B], each at least 0 and below the number of the user's missing items, which is at most 2**31;
            at that number the answer is no item of the catalogue.

    Returns:
        int64 [B].
    """
    items = observed.items
    # Places count from the first item of all. Where they fit 32 bits they move faster than in 64.
    narrow = np.int32 if items.size < 2**31 else np.int64
    firsts = observed.indptr.take(user_ids)
    lengths = (observed.indptr.take(user_ids + 1) - firsts).astype(narrow)
    longest = int(lengths.max(initial=0))
    if longest == 0:
        return ranks.copy()
    # At place p of a user that begins at f, items[j] − j ≤ r reads items[p] ≤ p + (r − f).
    beyond = (ranks - firsts).astype(narrow)
    # `before` is the last place known to hold that, f − 1 at first. A length of 0 or 1 makes the half 0, and the last
    # round, with the half rounded up, settles the one place that is left.
    before = (firsts - 1).astype(narrow)
    for _ in range((longest - 1).bit_length()):
        half = lengths >> 1
        probe = before + half
        before += half * (items.take(probe, mode="clip") <= probe + beyond)
        lengths -= half
    probe = before + lengths
    before += lengths * (items.take(probe, mode="clip") <= probe + beyond)
    return ranks + (before - firsts + 1)


def _check_rows(user_ids: Int64, row_numbers: Int64) -> None:
    for name, values in (("user_ids", user_ids), ("row_numbers", row_numbers)):
        if values.dtype != np.int64 or values.ndim != 1:
            raise ValueError(f"{name} must be int64 [B], not {values.dtype} {values.shape}")
    if user_ids.shape != row_numbers.shape:
        raise ValueError(f"user_ids {user_ids.shape} and row_numbers {row_numbers.shape} must be of one shape")
