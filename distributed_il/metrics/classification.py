"""Area under the ROC curve over all rows."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray


def descending_ranks(scores: NDArray[Any]) -> NDArray[np.int64]:
    """Dense ranks from the highest score down; equal scores, and they alone, share a rank.

    Every metric of order follows from these ranks, so that rows are tied exactly when the scores given are equal.

    Args:
        scores: float [n], finite.

    Returns:
        int64 [n], 0 for the highest score.
    """
    order = np.argsort(scores)
    ascending = scores[order]
    places = np.zeros(scores.size, dtype=np.int64)
    np.cumsum(ascending[1:] != ascending[:-1], out=places[1:])
    ranks = np.empty_like(places)
    ranks[order] = places[-1:] - places
    return ranks


def auc(ranks: NDArray[np.int64], labels: NDArray[Any]) -> float:
    """Probability that a positive ranks above a negative, a tie counting one half (ties at mid-rank).

    Counted in integers, so the one rounding is that of the final division.

    Args:
        ranks: int64 [n] of `descending_ranks`.
        labels: Integers [n], each 0 or 1.

    Returns:
        A number in [0, 1], NaN where all rows are of one class.
    """
    counts = np.bincount(2 * ranks + labels, minlength=2)
    negatives, positives = np.append(counts, [0] * (counts.size % 2)).reshape(-1, 2).T
    pairs = int(negatives.sum()) * int(positives.sum())
    if pairs == 0:
        return float("nan")
    negatives_below = negatives.sum() - np.cumsum(negatives)
    return int(np.sum(positives * (2 * negatives_below + negatives))) / (2 * pairs)
