"""All metrics of a split in one dictionary."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from distributed_il.evaluation.metrics.classification import auc, descending_ranks
from distributed_il.evaluation.metrics.tally import metrics_of, tally


def compute_metrics(
    user_ids: NDArray[Any],
    scores: NDArray[Any],
    labels: NDArray[Any],
    *,
    probabilities: NDArray[np.float64] | None = None,
    served: NDArray[np.float64] | None = None,
    calibrated: NDArray[np.float64] | None = None,
    cutoffs: Sequence[int] = (10, 20),
) -> dict[str, float | int]:
    """Computes every metric over all rows given; rows may come in any order.

    gauc, ndcg, mrr and mrr_first are plain means over the users with both classes, gauc_impressions is weighted by
    their rows; the others are left out and counted. Tied scores take the expected value over their orders.

    Args:
        user_ids: Integers [n], each in [0, 2**31).
        scores: float [n], finite; any number that is higher for the better row.
        labels: Integers [n], each 0 or 1.
        probabilities: float64 [n] in [0, 1], for logloss and ece. None: they come from logits.
        served: float64 [n], finite, these logits; None: the scores are the logits.
        calibrated: float64 [n], finite, logits for calibrated_logloss and calibrated_ece. None: these are left out.
        cutoffs: k of each ndcg@k.

    Returns:
        auc, gauc, gauc_impressions, ndcg@k, mrr, mrr_first, logloss, ece, calibrated_logloss, calibrated_ece
        (NaN where undefined), rows, users, users_left_out, rows_left_out, positives_share.

    Raises:
        ValueError: Lengths differ, or a value is out of its range or not finite.
    """
    check_columns(user_ids, scores, labels, probabilities, served, calibrated)
    labels = labels.astype(np.int64)
    ranks = descending_ranks(scores)
    logits = {"served": served, "calibrated": calibrated}
    sums = tally(user_ids, scores, labels, ranks, probabilities=probabilities, **logits, cutoffs=cutoffs)
    return metrics_of(sums, auc(ranks, labels))


def check_columns(
    user_ids: NDArray[Any],
    scores: NDArray[Any],
    labels: NDArray[Any],
    probabilities: NDArray[np.float64] | None = None,
    served: NDArray[np.float64] | None = None,
    calibrated: NDArray[np.float64] | None = None,
) -> None:
    """Raises ValueError where the arguments of `compute_metrics` are not as it wants them."""
    columns = {"user_ids": user_ids, "scores": scores, "labels": labels}
    optional = {"probabilities": probabilities, "served": served, "calibrated": calibrated}
    columns |= {name: values for name, values in optional.items() if values is not None}
    for name, values in columns.items():
        if values.shape != (user_ids.size,):
            raise ValueError(f"{name} has shape {values.shape}; it must be ({user_ids.size},)")
    for name in ("user_ids", "labels"):
        if not np.issubdtype(columns[name].dtype, np.integer):
            raise ValueError(f"{name} must be integers, not {columns[name].dtype}")
    if user_ids.size == 0:
        return
    if user_ids.min() < 0 or user_ids.max() >= 2**31:
        raise ValueError("user_ids must lie in [0, 2**31)")
    if labels.min() < 0 or labels.max() > 1:
        raise ValueError("labels must be 0 or 1")
    for name in ("scores", "served", "calibrated"):
        if name in columns and not (finite := np.isfinite(columns[name])).all():
            raise ValueError(f"{np.count_nonzero(~finite)} of {finite.size} {name} are not finite")
    if probabilities is not None and not ((probabilities >= 0) & (probabilities <= 1)).all():
        raise ValueError("probabilities must lie in [0, 1]")
