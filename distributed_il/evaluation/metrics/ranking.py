"""Ranking metrics of each user, where tied rows take the expected value over all their orders.

A user's rows fall into groups of equal score. A group of m rows with c positives, behind a higher rows of the same
user, occupies ranks a + 1 … a + m. Over the random orders of the group each of its ranks holds a positive with
probability c / m, which settles every metric that is a sum over positives. So one sort and sums over groups suffice.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Int64 = NDArray[np.int64]
Float64 = NDArray[np.float64]

_RANK_BITS = 32


@dataclass(frozen=True, eq=False, slots=True)
class UserTies:
    """The rows of the users that have both classes, as groups of equal score; users ascending, scores descending."""

    rows: Int64
    """int64 [users]: m summed."""
    positives: Int64
    """int64 [users]: c summed."""
    first_group: Int64
    """int64 [users]: index of the user's first group."""
    sizes: Int64
    """int64 [groups]: m."""
    hits: Int64
    """int64 [groups]: c."""
    before: Int64
    """int64 [groups]: a."""
    num_users: int
    """Users in all."""
    users_left_out: int
    """Users whose rows are all of one class."""
    rows_left_out: int
    """Their rows."""

    @classmethod
    def from_rows(cls, user_ids: NDArray[Any], ranks: Int64, labels: NDArray[Any]) -> UserTies:
        """Sorts rows by user and rank and finds the groups.

        Args:
            user_ids: Integers [n], each in [0, 2**31).
            ranks: int64 [n] of `descending_ranks`.
            labels: Integers [n], each 0 or 1.
        """
        # One integer holds user, rank and label, so that plain sorting does, several times faster than argsort.
        keys = (user_ids.astype(np.int64) << _RANK_BITS) | (ranks << 1) | labels
        keys.sort()
        starts = _starts(keys >> 1)
        users = keys[starts] >> _RANK_BITS
        first_group = _starts(users)
        ends = np.append(starts[1:], keys.size)
        cumulative = np.zeros(keys.size + 1, dtype=np.int64)
        np.cumsum(keys & 1, out=cumulative[1:])
        sizes, hits = ends - starts, cumulative[ends] - cumulative[starts]
        groups = np.diff(np.append(first_group, starts.size))
        before = starts - np.repeat(starts[first_group], groups)
        rows, positives = _segment_sum(sizes, first_group), _segment_sum(hits, first_group)
        kept = (positives > 0) & (positives < rows)
        kept_groups = np.repeat(kept, groups)
        return cls(
            rows=rows[kept],
            positives=positives[kept],
            first_group=np.cumsum(groups[kept]) - groups[kept],
            sizes=sizes[kept_groups],
            hits=hits[kept_groups],
            before=before[kept_groups],
            num_users=kept.size,
            users_left_out=int(np.count_nonzero(~kept)),
            rows_left_out=int(rows[~kept].sum()),
        )


def user_auc(ties: UserTies) -> Float64:
    """AUC of each user: of the pairs of a positive and a negative, the share ranked right, a tie counting one half.

    Returns float64 [users], counted in integers with one rounding at the end.
    """
    misses = ties.sizes - ties.hits
    negatives = ties.rows - ties.positives
    cumulative = np.cumsum(misses)
    groups = np.diff(np.append(ties.first_group, misses.size))
    # Negatives of all users up to and with this one, less those up to and with this group.
    below = np.repeat(np.cumsum(negatives), groups) - cumulative
    halves = _segment_sum(ties.hits * (2 * below + misses), ties.first_group)
    return halves / (2 * ties.positives * negatives)


def user_ndcg(ties: UserTies, cutoff: int) -> Float64:
    """NDCG@k of each user, expected over the orders of ties.

    Gain 2^y − 1 is 1 on positives; discount 1 / log2(rank + 1). With D(r) the sum of the first r discounts up to rank
    k, a group gives (c / m)(D(a + m) − D(a)), and the ideal order D(positives). Returns float64 [users] in [0, 1];
    `cutoff` is k, at least 1.
    """
    cumulative = _prefix_sums(1.0 / np.log2(np.arange(2, cutoff + 2)))
    first = cumulative[np.minimum(ties.before, cutoff)]
    last = cumulative[np.minimum(ties.before + ties.sizes, cutoff)]
    gains = _segment_sum(ties.hits / ties.sizes * (last - first), ties.first_group)
    return gains / cumulative[np.minimum(ties.positives, cutoff)]


def user_mrr(ties: UserTies) -> Float64:
    """Mean over each user's positives of 1 / rank, float64 [users] in (0, 1], expected over the orders of ties.

    With H(r) = 1 + 1/2 + … + 1/r a group gives (c / m)(H(a + m) − H(a)).
    """
    harmonic = _prefix_sums(1.0 / np.arange(1, int(ties.rows.max(initial=0)) + 1))
    reciprocal = (harmonic[ties.before + ties.sizes] - harmonic[ties.before]) / ties.sizes
    return _segment_sum(ties.hits * reciprocal, ties.first_group) / ties.positives


def user_mrr_first(ties: UserTies) -> Float64:
    """1 / rank of each user's first positive, float64 [users] in (0, 1], expected over the orders of ties.

    The first positive lies in the user's first group with c > 0. There it is the j-th row with probability
    C(m − j, c − 1) / C(m, c), since the c − 1 others lie among the m − j rows behind it; so the expectation is
    Σ_{j = 1}^{m − c + 1} C(m − j, c − 1) / C(m, c) / (a + j).
    """
    with_hits = np.flatnonzero(ties.hits)
    chosen = with_hits[np.searchsorted(with_hits, ties.first_group)]
    size, hits, before = ties.sizes[chosen], ties.hits[chosen], ties.before[chosen]
    result = 1.0 / (before + 1)
    open_order = np.flatnonzero(hits < size)
    if open_order.size:
        result[open_order] = _expected_first(size[open_order], hits[open_order], before[open_order])
    return result


def _expected_first(size: Int64, hits: Int64, before: Int64) -> Float64:
    """The sum of `user_mrr_first` for groups of mixed class, all terms of all groups side by side."""
    # Logarithms of factorials reach 1e5 and their differences about 1; the longer type keeps the digits between.
    log_factorial = _prefix_sums(np.log(np.arange(1, int(size.max()) + 1, dtype=np.longdouble)))
    terms = size - hits + 1
    first = np.cumsum(terms) - terms
    place = np.arange(int(terms.sum())) - np.repeat(first, terms) + 1
    behind = np.repeat(size, terms) - place
    constant = log_factorial[hits] + log_factorial[size - hits] - log_factorial[size] - log_factorial[hits - 1]
    log_share = log_factorial[behind] - log_factorial[behind - np.repeat(hits - 1, terms)] + np.repeat(constant, terms)
    share = np.exp(log_share.astype(np.float64))
    return _segment_sum(share / (np.repeat(before, terms) + place), first)


def _starts(ordered: Int64) -> Int64:
    """Where a new value begins in an ordered array."""
    if not ordered.size:
        return np.empty(0, dtype=np.int64)
    return np.flatnonzero(np.concatenate(([True], ordered[1:] != ordered[:-1])))


def _segment_sum(values: NDArray[Any], starts: Int64) -> NDArray[Any]:
    """Sums of the non-empty segments that begin at `starts`."""
    return np.add.reduceat(values, starts) if starts.size else values[:0]


def _prefix_sums(values: NDArray[Any]) -> NDArray[Any]:
    """[0, v0, v0 + v1, …]."""
    return np.concatenate((np.zeros(1, dtype=values.dtype), np.cumsum(values)))
