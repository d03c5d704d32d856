"""Simulated users and items: how active and popular they are, and what each user thinks of each item."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

NUM_FACTORS = 8
"""Tastes. Far fewer than the 32 columns of an embedding, so a factor model can hold them all."""
_FACTOR_DECAY = 0.5
"""Variance of a taste's part over that of the one before. A few tastes explain most, as in real logs, and those can be
learned from the 43 training rows that an item of Table 1 has: GMF gets nearly half the way in AUC from user + item bias
to the oracle (0.717, 0.78, 0.861). Tastes of more equal weight leave it less."""
_PERSONAL_STD = 1.5
"""Standard deviation of the personal part of a logit. It outweighs both biases, so that who learns nothing personal
stays far below the oracle."""
_USER_STD, ITEM_STD = 0.7, 0.9
"""Standard deviations of a user's and an item's bias, in logits."""

_USER_EXPONENT, _ITEM_EXPONENT = 0.6, 0.7
"""Rank-size exponents: weight ∝ (rank + offset)^−exponent, so P(count > c) ∝ c^(−1/exponent). Below 1, so that the
least of them still has 0.4 (users) or 0.3 (items) of the mean."""
_RANK_OFFSET = 50
"""Flattens the head: the most popular of 131,690 items is watched by a fifth of the users, not by all."""


@dataclass(frozen=True, slots=True)
class Population:
    """Users and items with their hidden traits.

    Attributes:
        activity: float64[U], shares of watches, sum 1.
        popularity: float64[I], shares of watches, sum 1.
        user_bias: float32[U].
        item_bias: float32[I].
        user_factors: float32[U, NUM_FACTORS].
        item_factors: float32[I, NUM_FACTORS].
    """

    activity: NDArray[np.float64]
    popularity: NDArray[np.float64]
    user_bias: NDArray[np.float32]
    item_bias: NDArray[np.float32]
    user_factors: NDArray[np.float32]
    item_factors: NDArray[np.float32]

    def logits(self, users: NDArray[np.int64], items: NDArray[np.int64]) -> NDArray[np.float64]:
        """Log-odds of liking, up to the offset that is common to all: a_u + c_i + p_u · q_i, float64[n] of int64[n]."""
        personal = np.einsum("nk,nk->n", self.user_factors[users], self.item_factors[items])
        return (self.user_bias[users] + self.item_bias[items] + personal).astype(np.float64)


def sigmoid(logits: NDArray[np.float64]) -> NDArray[np.float64]:
    """σ(x), a probability from log-odds, float64[n] above −700."""
    return 1.0 / (1.0 + np.exp(-logits))


def draw_population(rng: np.random.Generator, num_users: int, num_items: int) -> Population:
    """Draws users and items; who is active or popular is independent of what they like or are."""
    scales = factor_scales()
    return Population(
        activity=rng.permutation(_power_law(num_users, _USER_EXPONENT)),
        popularity=rng.permutation(_power_law(num_items, _ITEM_EXPONENT)),
        user_bias=(_USER_STD * rng.standard_normal(num_users)).astype(np.float32),
        item_bias=(ITEM_STD * rng.standard_normal(num_items)).astype(np.float32),
        user_factors=(scales * rng.standard_normal((num_users, NUM_FACTORS))).astype(np.float32),
        item_factors=(scales * rng.standard_normal((num_items, NUM_FACTORS))).astype(np.float32),
    )


def factor_scales() -> NDArray[np.float64]:
    """Standard deviations of the factors of users and of items, float64 [NUM_FACTORS]."""
    variances = _FACTOR_DECAY ** np.arange(NUM_FACTORS)
    return np.sqrt(_PERSONAL_STD) * (variances / variances.sum()) ** 0.25


def _power_law(size: int, exponent: float) -> NDArray[np.float64]:
    weights = (np.arange(size) + 1.0 + _RANK_OFFSET) ** -exponent
    return weights / weights.sum()


def spread_counts(shares: NDArray[np.float64], total: int, *, least: NDArray[np.int64], most: int) -> NDArray[np.int64]:
    """Spreads a total over users by their shares, each between its least and the most.

    Args:
        shares: float64[U], positive, sum 1.
        total: Sum wanted; between the sum of `least` and U · most.
        least: int64[U], at most `most`.
        most: Upper limit of every count.

    Returns:
        int64[U] with sum `total`.
    """
    low, high = 0.0, float(total) / float(shares.min())
    for _ in range(100):  # bisection over the scale; the sum grows with it
        middle = (low + high) / 2
        if int(_clipped(shares, middle, least, most).sum()) <= total:
            low = middle
        else:
            high = middle
    counts = _clipped(shares, low, least, most)
    while (short := total - int(counts.sum())) > 0:  # what rounding down left over
        open_places = np.flatnonzero(counts < most)[:short]
        counts[open_places] += 1
    return counts


def _clipped(shares: NDArray[np.float64], scale: float, least: NDArray[np.int64], most: int) -> NDArray[np.int64]:
    return np.minimum(np.maximum((shares * scale).astype(np.int64), least), most)


def user_chunks(counts: NDArray[np.int64], rows: int) -> list[tuple[int, int]]:
    """Cuts users with so many watches each into runs of about as many rows: their first, and one past their last."""
    chunk_of_user = (np.cumsum(counts) - counts) // rows
    starts = np.flatnonzero(np.diff(chunk_of_user, prepend=-1))
    return list(zip(starts.tolist(), [*starts[1:].tolist(), len(counts)], strict=True))


def draw_distinct_items(
    rng: np.random.Generator,
    counts: NDArray[np.int64],
    cumulative_popularity: NDArray[np.float64],
    *,
    given: NDArray[np.int64],
) -> NDArray[np.int64]:
    """Draws each user's items by popularity, none twice.

    Users draw as many items as they still lack, all at once; repeats fall away and are drawn again.

    Args:
        rng: Source of randomness.
        counts: int64[n], items of each user, well below the number of items.
        cumulative_popularity: float64[I], rising to 1.
        given: int64[m], sorted distinct keys (user · I + item) of pairs that exist already, no more than `counts`.

    Returns:
        int64[sum of counts], sorted keys user · I + item, with users numbered 0 … n − 1; `given` is among them.
    """
    num_items = len(cumulative_popularity)
    keys = given
    while True:
        lacking = counts - np.bincount(keys // num_items, minlength=len(counts))
        if not lacking.any():
            return keys
        users = np.repeat(np.arange(len(counts)), lacking)
        items = np.searchsorted(cumulative_popularity, rng.random(len(users)), side="right")
        drawn = users * num_items + np.minimum(items, num_items - 1)  # rounding may leave the last sum below 1
        keys = np.sort(np.concatenate([keys, drawn]))  # np.unique hashes such keys, and takes minutes over it
        keys = keys[np.diff(keys, prepend=-1) != 0]
