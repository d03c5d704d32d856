"""Metrics of a split whose users are dealt to ranks: exact, and a rank holds some of its users' rows at a time."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from distributed_il.core.collectives import Collectives, FirstError, sum_over_ranks
from distributed_il.evaluation.distributed_auc import ScoreRanges
from distributed_il.evaluation.metrics import check_columns, compute_metrics, descending_ranks, metrics_of, tally


class ScoredRows(NamedTuple):
    """All rows of some users, as `compute_metrics` takes them."""

    user_ids: NDArray[Any]  # integers [n], each in [0, 2**31)
    scores: NDArray[Any]  # float [n], finite
    labels: NDArray[Any]  # integers [n], each 0 or 1
    probabilities: NDArray[np.float64] | None = None  # float64 [n] in [0, 1]; None where there are logits
    served: NDArray[np.float64] | None = None  # float64 [n], finite; None where the scores are the logits
    calibrated: NDArray[np.float64] | None = None  # float64 [n], finite

    def chosen(self, rows: slice | NDArray[np.bool_]) -> ScoredRows:
        """Some of the rows."""
        return ScoredRows(*(None if column is None else column[rows] for column in self))  # pyright: ignore

    def metrics(self, cutoffs: Sequence[int] = (10, 20)) -> dict[str, float | int]:
        """What `compute_metrics` makes of these rows alone."""
        optional = {"probabilities": self.probabilities, "served": self.served, "calibrated": self.calibrated}
        return compute_metrics(self.user_ids, self.scores, self.labels, **optional, cutoffs=cutoffs)


def compute_metrics_over_ranks(
    parts: Sequence[Any],
    read: Callable[[Any], ScoredRows] = lambda part: part,
    *,
    collectives: Collectives,
    device: torch.device,
    cutoffs: Sequence[int] = (10, 20),
) -> dict[str, float | int]:
    """The metrics of `compute_metrics` over the rows of all ranks, which call it together.

    Metrics of users and of calibration are sums: over some users at a time, and then over ranks, of which there may be
    one. AUC is counted in `ScoreRanges`.

    Args:
        parts: This rank's rows, as many parts as on any other rank, at least one; a user's rows are all in one part of
            one rank. Scores are of one dtype on all ranks. Each part is taken from the sequence as it is needed.
        read: Makes scored rows of a part, which by default is such.
        collectives: The ranks.
        device: Where collectives work.
        cutoffs: k of each ndcg@k.

    Returns:
        As `compute_metrics` on all rows, apart from rounding in the last digits; the same bits on every rank.

    Raises:
        ValueError: As `compute_metrics`, for this rank's rows.
        UserError: This rank's disk is full.
        RuntimeError: Another rank has raised one of these.
    """
    if collectives.world_size == 1 and len(parts) == 1:
        return read(parts[0]).metrics(cutoffs)
    problem = FirstError()
    sums: dict[str, float] = {}
    ranges: ScoreRanges | None = None
    for number in range(len(parts)):
        rows = read(parts[number])
        with problem.kept():
            check_columns(*rows)
        if problem.error is not None:
            rows = rows.chosen(slice(0))
        ranges = ranges or _ranges(rows.scores, collectives, device)
        labels, ranks = rows.labels.astype(np.int64), descending_ranks(rows.scores)
        optional = {"probabilities": rows.probabilities, "served": rows.served, "calibrated": rows.calibrated}
        part = tally(rows.user_ids, rows.scores, labels, ranks, **optional, cutoffs=cutoffs)
        sums = {name: sums.get(name, 0.0) + total for name, total in part.items()}
        ranges.add(rows.scores, ranks, labels)
    problem.raise_together("rows could not be measured", collectives, device)
    assert ranges is not None
    own = torch.tensor(list(sums.values()), dtype=torch.float64, device=device)
    totals = sum_over_ranks(collectives, own).tolist()
    return metrics_of(dict(zip(sums, totals, strict=True)), ranges.auc())


def _ranges(scores: NDArray[Any], collectives: Collectives, device: torch.device) -> ScoreRanges:
    """Ranges by the scores of each rank's first part."""
    rows = collectives.all_gather(torch.tensor([scores.size], device=device)).flatten().tolist()
    return ScoreRanges(scores, rows, collectives=collectives, device=device)
