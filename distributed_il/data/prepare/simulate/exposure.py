"""Who watches what: each pair of user and item once, users by their activity, items by their popularity."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


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
