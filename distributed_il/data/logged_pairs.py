"""Logged unclear pairs, drawn uniformly over all of them: what a loss of unclear feedback is a mean over."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from distributed_il.core.counter_rng import LOGGED, hash_u64, uniform_below
from distributed_il.core.errors import UserError
from distributed_il.data.sampling import PairIndex, UnlabelledPairs

Int64 = NDArray[np.int64]


@dataclass(frozen=True, eq=False, slots=True)
class LoggedPairSampler:
    """Draws `rate` logged pairs for each labelled row, of any users: each pair of the log is as likely as any other.

    `UnlabelledSampler` draws pairs of the labelled row's own user, so that users with few logged pairs weigh as much as
    those with many; here a pair weighs the same whoever's it is.
    """

    logged: PairIndex | None
    """The logged unclear pairs, as a dataset has them."""
    seed: int
    """Seed of the run."""
    rate: int
    """Pairs for each labelled row, at least 1."""

    def __post_init__(self) -> None:
        if self.rate < 1:
            raise ValueError(f"rate is {self.rate}; it must be at least 1")
        if self.logged is None or not self.logged.items.size:
            raise UserError(
                "the method draws logged unclear pairs, and the dataset has none; prepare it with a feedback rule that "
                "leaves some unclear, or choose another method.name"
            )

    def draw(self, user_ids: Int64, row_numbers: Int64, round: int) -> UnlabelledPairs:
        """Draws pairs from (seed, round, row number, k) and nothing else.

        Args:
            user_ids: int64 [B], each row's user; not looked at.
            row_numbers: int64 [B], each row's global number, at least 0.
            round: The round, at least 0.

        Returns:
            The pairs, those of row 0 first; all of them valid.
        """
        assert self.logged is not None
        draws = np.tile(np.arange(self.rate, dtype=np.int64), row_numbers.size)
        hashes = hash_u64(self.seed, LOGGED, round, np.repeat(row_numbers, self.rate), draws)
        places = uniform_below(hashes, self.logged.items.size)
        users = np.searchsorted(self.logged.indptr, places, side="right").astype(np.int64) - 1
        nothing = np.zeros(places.size, dtype=np.bool_)
        return UnlabelledPairs(users, self.logged.items.take(places).astype(np.int64), ~nothing, nothing)
