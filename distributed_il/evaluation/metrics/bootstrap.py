"""How far metrics would move with other users: the bootstrap that draws whole users with replacement.

A user's rows depend on one another, so users are drawn and not rows. Every metric is a ratio of sums over users, apart
from AUC, which compares rows of different users: there each row counts as often as its user was drawn.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from distributed_il.evaluation.metrics.classification import descending_ranks
from distributed_il.evaluation.metrics.ranking import UserTies, user_auc, user_mrr, user_ndcg

Int64 = NDArray[np.int64]
Float64 = NDArray[np.float64]

RESAMPLES = 1_000
LEVEL = 0.95


@dataclass(frozen=True, eq=False, slots=True)
class Estimate:
    """A metric, and what it comes to in each resample."""

    value: float  # over all users
    resampled: Float64  # float64 [resamples]; NaN where a resample leaves the metric undefined

    def interval(self) -> tuple[float, float]:
        """The middle 95 % of the resamples: percentiles 2.5 and 97.5; NaN where all are undefined."""
        known = self.resampled[np.isfinite(self.resampled)]
        if not known.size:
            return float("nan"), float("nan")
        low, high = np.quantile(known, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
        return float(low), float(high)

    def less(self, other: Estimate) -> Estimate:
        """The difference of two metrics of the same users, drawn alike: what both share falls out."""
        return Estimate(self.value - other.value, self.resampled - other.resampled)


def bootstrap(
    user_ids: NDArray[Any],
    scores: NDArray[Any],
    labels: NDArray[Any],
    losses: Float64,
    *,
    seed: int,
    resamples: int = RESAMPLES,
    cutoffs: Sequence[int] = (10, 20),
) -> dict[str, Estimate]:
    """Resamples the users of a split.

    For rows of the same users the same seed draws the same users, whatever the scores, so that estimates of several
    models can be subtracted resample by resample. ECE is not among them: its bins' gaps count without their sign, so
    the noise of resampling can only add to it, and its percentiles would lie above the value itself.

    Args:
        user_ids: Integers [n], each in [0, 2**31).
        scores: float [n], finite.
        labels: Integers [n], each 0 or 1.
        losses: float64 [n], log loss of each row.
        seed: Decides who is drawn.
        resamples: How often.
        cutoffs: k of each ndcg@k.

    Returns:
        auc, gauc, ndcg@k, mrr and logloss, as `compute_metrics` defines them.
    """
    _, users = np.unique(user_ids, return_inverse=True)
    labels, ranks = labels.astype(np.int64), descending_ranks(scores)
    num_users = int(users.max(initial=-1)) + 1
    sums = _sums_of_users(users, ranks, labels, losses, num_users, cutoffs)
    area = _WeightedAuc(users, ranks, labels)
    generator = np.random.default_rng(seed)
    weights = np.ones(num_users, dtype=np.int64)
    values = [_metrics(weights, sums, area)]
    for _ in range(resamples):
        drawn = generator.integers(0, max(num_users, 1), num_users)
        values.append(_metrics(np.bincount(drawn, minlength=num_users), sums, area))
    table = np.array(values)
    return {name: Estimate(float(column[0]), column[1:]) for name, column in zip(("auc", *sums), table.T, strict=True)}


def _sums_of_users(
    users: Int64, ranks: Int64, labels: Int64, losses: Float64, num_users: int, cutoffs: Sequence[int]
) -> dict[str, tuple[Float64, Float64]]:
    """Numerator and denominator of each metric by user, [num_users] each."""
    rows = np.bincount(users, minlength=num_users).astype(np.float64)
    positives = np.bincount(users, weights=labels, minlength=num_users)
    both = (positives > 0) & (positives < rows)
    ties = UserTies.from_rows(users, ranks, labels)
    found: Mapping[str, Float64] = {
        "gauc": user_auc(ties),
        **{f"ndcg@{cutoff}": user_ndcg(ties, cutoff) for cutoff in cutoffs},
        "mrr": user_mrr(ties),
    }
    sums: dict[str, tuple[Float64, Float64]] = {}
    for name, values in found.items():
        numerator = np.zeros(num_users)
        numerator[both] = values  # in the order of `ties`: users ascending, those of one class left out
        sums[name] = numerator, both.astype(np.float64)
    sums["logloss"] = np.bincount(users, weights=losses, minlength=num_users).astype(np.float64), rows
    return sums


def _metrics(weights: Int64, sums: Mapping[str, tuple[Float64, Float64]], area: _WeightedAuc) -> list[float]:
    ratios = [_ratio(float(weights @ numerator), float(weights @ count)) for numerator, count in sums.values()]
    return [area.of(weights), *ratios]


class _WeightedAuc:
    """AUC of rows that each count as often as their user does."""

    def __init__(self, users: Int64, ranks: Int64, labels: Int64) -> None:
        order = np.argsort(ranks, kind="stable")
        ranks, labels = ranks[order], labels[order]
        self._users, self._negative = users[order], 1 - labels
        # The last row of each rank.
        self._ends = np.flatnonzero(np.append(ranks[1:] != ranks[:-1], True)[: ranks.size])

    def of(self, weights: Int64) -> float:
        rows = weights[self._users]
        up_to = np.cumsum(rows)[self._ends]
        negatives_up_to = np.cumsum(rows * self._negative)[self._ends]
        if not up_to.size:
            return float("nan")
        negatives = np.diff(negatives_up_to, prepend=0)
        positives = np.diff(up_to, prepend=0) - negatives
        total = int(negatives_up_to[-1])
        halves = int(positives @ (2 * (total - negatives_up_to) + negatives))
        return _ratio(halves, 2 * total * (int(up_to[-1]) - total))


def _ratio(total: float, count: float) -> float:
    return total / count if count else float("nan")
