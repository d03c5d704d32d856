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


def class_counts(ranks: NDArray[np.int64], labels: NDArray[Any]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """How many negatives and positives share each rank.

    Args:
        ranks: int64 [n] of `descending_ranks`.
        labels: Integers [n], each 0 or 1.

    Returns:
        (negatives, positives), int64 [ranks in all] each.
    """
    counts = np.bincount(2 * ranks + labels, minlength=2)
    negatives, positives = np.append(counts, [0] * (counts.size % 2)).reshape(-1, 2).T
    return negatives, positives


def half_pairs(negatives: NDArray[np.int64], positives: NDArray[np.int64]) -> int:
    """Twice the number of pairs of a positive and a negative that are ranked right, a tie counting one half.

    Args:
        negatives: int64 [ranks in all] at each rank, from the highest score down.
        positives: Likewise.

    Returns:
        An exact integer, between 0 and twice the number of pairs.
    """
    total = int(negatives.sum())
    # The sum stays below (rows)² / 2; what int64 can't hold is summed in Python's integers.
    wide: type = np.int64 if total + int(positives.sum()) < 2**32 else object
    negatives_below = total - np.cumsum(negatives)
    return int(np.sum(positives.astype(wide) * (2 * negatives_below + negatives)))


def auc(ranks: NDArray[np.int64], labels: NDArray[Any]) -> float:
    """Probability that a positive ranks above a negative, a tie counting one half (ties at mid-rank).

    Counted in integers, so the one rounding is that of the final division.

    Args:
        ranks: int64 [n] of `descending_ranks`.
        labels: Integers [n], each 0 or 1.

    Returns:
        A number in [0, 1], NaN where all rows are of one class.
    """
    negatives, positives = class_counts(ranks, labels)
    pairs = int(negatives.sum()) * int(positives.sum())
    return half_pairs(negatives, positives) / (2 * pairs) if pairs else float("nan")
