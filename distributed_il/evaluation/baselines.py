"""The two baselines that a method has to beat, fitted on the same training rows."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from distributed_il.data.sampling import PairIndex

Float64 = NDArray[np.float64]

# Observed pairs looked at together: the index may be larger than memory.
_PAIRS_AT_ONCE = 262_144


def item_mean(item_rows: NDArray[Any], item_positives: NDArray[Any], smoothing: float = 10.0) -> Float64:
    """Share of positives of each item, drawn towards the overall share μ: (positives + s·μ) / (rows + s).

    Args:
        item_rows: Integers [num_items], training rows of each item.
        item_positives: Integers [num_items], those with label 1.
        smoothing: s, the rows that μ counts for; above 0.

    Returns:
        float64 [num_items] in [0, 1]; μ for an item without rows.

    Raises:
        ValueError: Lengths differ, there are no rows, or the smoothing is not above 0.
    """
    if item_rows.shape != item_positives.shape or item_rows.ndim != 1:
        raise ValueError(f"item_rows {item_rows.shape} and item_positives {item_positives.shape} must be [num_items]")
    if not smoothing > 0:
        raise ValueError(f"smoothing is {smoothing}; it must be above 0")
    total = int(item_rows.sum())
    if total == 0:
        raise ValueError("no training rows to fit")
    overall = int(item_positives.sum()) / total
    return (item_positives + smoothing * overall) / (item_rows + smoothing)


def user_item_bias(
    user_rows: NDArray[Any],
    user_positives: NDArray[Any],
    item_rows: NDArray[Any],
    item_positives: NDArray[Any],
    observed: PairIndex,
    smoothing: float = 10.0,
) -> tuple[Float64, Float64]:
    """User bias + item mean: the score of a pair is bias[u] + mean[i], with bias[u] = Σ (y − mean[i]) / (rows + s).

    The sum runs over the user's training rows. A score can leave [0, 1]; clip it before taking it as a probability.

    Args:
        user_rows: Integers [num_users], training rows of each user.
        user_positives: Integers [num_users], those with label 1.
        item_rows: As in `item_mean`.
        item_positives: As in `item_mean`.
        observed: The training pairs.
        smoothing: s, for users and for items.

    Returns:
        (bias, mean): float64 [num_users], 0 for a user without rows, and float64 [num_items].

    Raises:
        ValueError: Lengths differ, there are no rows, or the smoothing is not above 0.
    """
    if not user_rows.shape == user_positives.shape == (observed.num_users,):
        raise ValueError(
            f"user_rows {user_rows.shape} and user_positives {user_positives.shape} must be [{observed.num_users}]"
        )
    mean = item_mean(item_rows, item_positives, smoothing)
    degrees = np.diff(observed.indptr)
    # Where a pair occurs in several rows, the index knows it once; its user's rows then count evenly.
    expected = _sum_by_user(observed, mean) * (user_rows / np.maximum(degrees, 1))
    return (user_positives - expected) / (user_rows + smoothing), mean


def _sum_by_user(observed: PairIndex, item_values: Float64) -> Float64:
    """Sum of a value of items over each user's observed items, float64 [num_users]."""
    sums = np.zeros(observed.num_users)
    steps = np.arange(0, observed.items.size + _PAIRS_AT_ONCE, _PAIRS_AT_ONCE)
    borders = np.unique(np.append(np.searchsorted(observed.indptr[:-1], steps), observed.num_users))
    for first, last in zip(np.append(0, borders[:-1]), borders, strict=True):
        indptr = observed.indptr[first : last + 1]
        users = np.repeat(np.arange(int(last - first)), np.diff(indptr))
        values = item_values[observed.items[indptr[0] : indptr[-1]]]
        sums[first:last] = np.bincount(users, weights=values, minlength=last - first)
    return sums
