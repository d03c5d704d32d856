"""Metrics of each user's first k items, where tied items take the expected value over all their orders.

They follow from the groups of `UserTies` that begin above rank k; groups below may be missing. A group of m items with
c relevant ones, behind a others, has a relevant one at each of its ranks with probability c / m.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from distributed_il.evaluation.metrics.ranking import UserTies, user_ndcg

Float64 = NDArray[np.float64]


def top_k_metrics(ties: UserTies, cutoff: int) -> dict[str, Float64]:
    """Every metric of each user: recall, ndcg, hit_rate, precision, map, mrr, float64 [users] each, in [0, 1]."""
    hits = _hits(ties, cutoff)
    hit_rate, mrr = _first_hit(ties, cutoff)
    return {
        "recall": hits / ties.positives,
        "ndcg": user_ndcg(ties, cutoff),
        "hit_rate": hit_rate,
        "precision": hits / cutoff,
        "map": _average_precision(ties, cutoff),
        "mrr": mrr,
    }


def _hits(ties: UserTies, cutoff: int) -> Float64:
    """Relevant items among the first k: a group gives c / m of its ranks up to k."""
    ranks = np.minimum(ties.before + ties.sizes, cutoff) - np.minimum(ties.before, cutoff)
    return np.add.reduceat(ties.hits / ties.sizes * ranks, ties.first_group)


def _average_precision(ties: UserTies, cutoff: int) -> Float64:
    """AP@k: the sum over ranks r ≤ k of relevant(r) · precision@r, over min(k, relevant items).

    With h relevant items before the group, rank r = a + i is relevant with probability c / m, and then each of the
    i − 1 ranks before it in the group is with q = (c − 1) / (m − 1). So the group gives c / m times the sum of
    (h + 1 + (i − 1) q) / r up to its last rank b or k, which is (h + 1 − q (a + 1)) (H(b) − H(a)) + q (b − a), with
    H(r) = 1 + … + 1/r.
    """
    first, last = np.minimum(ties.before, cutoff), np.minimum(ties.before + ties.sizes, cutoff)
    found = np.cumsum(ties.hits) - ties.hits
    groups = np.diff(np.append(ties.first_group, ties.hits.size))
    found -= np.repeat(found[ties.first_group], groups)
    share = (ties.hits - 1) / np.maximum(ties.sizes - 1, 1)
    harmonic = np.append(0.0, np.cumsum(1.0 / np.arange(1, cutoff + 1)))
    sums = (found + 1 - share * (ties.before + 1)) * (harmonic[last] - harmonic[first]) + share * (last - first)
    return np.add.reduceat(ties.hits / ties.sizes * sums, ties.first_group) / np.minimum(ties.positives, cutoff)


def _first_hit(ties: UserTies, cutoff: int) -> tuple[Float64, Float64]:
    """Probability that the first k hold a relevant item, and the expected 1 / rank of the first one, 0 if it is lower.

    The first relevant item lies in the first group that has one. If it is none of the group's first j − 1, it is the
    j-th with probability c / (m − j + 1).
    """
    with_hits = np.append(np.flatnonzero(ties.hits), ties.hits.size)
    chosen = with_hits[np.searchsorted(with_hits, ties.first_group)]
    there = np.flatnonzero(chosen < np.append(ties.first_group[1:], ties.hits.size))
    groups = chosen[there]
    sizes, hits, before = ties.sizes[groups], ties.hits[groups], ties.before[groups]
    none, reciprocal = np.ones(there.size), np.zeros(there.size)
    for place in range(1, cutoff + 1):
        open_ranks = (before + place <= cutoff) & (place <= sizes - hits + 1)
        chance = np.where(open_ranks, hits / np.maximum(sizes - place + 1, 1), 0.0)
        reciprocal += none * chance / (before + place)
        none *= 1.0 - chance
    hit_rate, mrr = np.zeros(ties.first_group.size), np.zeros(ties.first_group.size)
    hit_rate[there], mrr[there] = 1.0 - none, reciprocal
    return hit_rate, mrr
