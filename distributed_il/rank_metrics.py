"""Metrics of a split whose users are dealt to ranks: exact, and no rank holds more than its share of the rows."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from distributed_il.collectives import Collectives, sum_over_ranks
from distributed_il.metrics import check_columns, descending_ranks, evaluate, metrics_of, tally
from distributed_il.rank_auc import ScoreRanges

ROWS_AT_ONCE = 1_048_576
"""Rows of a rank that are ranked together; only a user that has more comes with all of them."""


def evaluate_over_ranks(
    user_ids: NDArray[Any],
    scores: NDArray[Any],
    labels: NDArray[Any],
    *,
    collectives: Collectives,
    device: torch.device,
    probabilities: NDArray[np.float64] | None = None,
    cutoffs: Sequence[int] = (10, 20),
) -> dict[str, float | int]:
    """The metrics of `evaluate` over the rows of all ranks, which call it together.

    Metrics of users and of calibration are sums: over some users at a time, and then over ranks, of which there may be
    one. AUC is counted in `ScoreRanges`.

    Args:
        user_ids: Integers [n], each in [0, 2**31); a user's rows are all on one rank.
        scores: float [n], finite, of one dtype on all ranks.
        labels: Integers [n], each 0 or 1.
        collectives: The ranks.
        device: Where collectives work.
        probabilities: As for `evaluate`; given on all ranks or on none.
        cutoffs: k of each ndcg@k.

    Returns:
        As `evaluate` on all rows, apart from rounding in the last digits; the same bits on every rank.

    Raises:
        ValueError: As `evaluate`; on all ranks.
    """
    if collectives.world_size == 1 and labels.size <= ROWS_AT_ONCE:
        return evaluate(user_ids, scores, labels, probabilities=probabilities, cutoffs=cutoffs)
    rows = _checked_rows(user_ids, scores, labels, probabilities, collectives, device)
    ranges = ScoreRanges(scores, rows, collectives=collectives, device=device)
    sums: dict[str, float] = {}
    for chosen in _by_users(user_ids // collectives.world_size, max(1, -(-max(rows) // ROWS_AT_ONCE))):
        some_scores, some_labels = scores[chosen], labels[chosen].astype(np.int64)
        ranks = descending_ranks(some_scores)
        part = tally(
            user_ids[chosen],
            some_scores,
            some_labels,
            ranks,
            probabilities=None if probabilities is None else probabilities[chosen],
            cutoffs=cutoffs,
        )
        sums = {name: sums.get(name, 0.0) + total for name, total in part.items()}
        ranges.add(some_scores, ranks, some_labels)
    own = torch.tensor(list(sums.values()), dtype=torch.float64, device=device)
    totals = sum_over_ranks(collectives, own).tolist()
    return metrics_of(dict(zip(sums, totals, strict=True)), ranges.auc())


def _by_users(numbers: NDArray[Any], parts: int) -> Iterator[NDArray[np.int64]]:
    """Places of the rows of some users at a time: those whose number leaves the same rest by `parts`, below 2**16."""
    rests = (numbers % parts).astype(np.uint16)  # 16 bits, because numpy sorts these by radix
    order = np.argsort(rests, kind="stable")
    yield from np.split(order, np.cumsum(np.bincount(rests, minlength=parts))[:-1])


def _checked_rows(
    user_ids: NDArray[Any],
    scores: NDArray[Any],
    labels: NDArray[Any],
    probabilities: NDArray[np.float64] | None,
    collectives: Collectives,
    device: torch.device,
) -> list[int]:
    """Rows of each rank; raises on every rank what is wrong on any, so that none is left waiting."""
    problem = None
    try:
        check_columns(user_ids, scores, labels, probabilities)
    except ValueError as error:
        problem = error
    rows = collectives.all_gather(torch.tensor([-1 if problem else labels.size], device=device)).flatten().tolist()
    if problem is not None:
        raise problem
    if min(rows) < 0:
        raise ValueError(f"the columns of ranks {[rank for rank, size in enumerate(rows) if size < 0]} are refused")
    return rows
