"""The sums that every metric but AUC follows from, so that parts of a split can be measured apart and added up."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from distributed_il.evaluation.metrics.calibration import (
    calibration_gaps,
    expected_calibration_error,
    log_losses_of_logits,
    log_losses_of_probabilities,
)
from distributed_il.evaluation.metrics.ranking import UserTies, user_auc, user_mrr, user_mrr_first, user_ndcg

CALIBRATED = "calibrated_"
"""Before the names of what is computed from calibrated logits."""


def tally(
    user_ids: NDArray[Any],
    scores: NDArray[Any],
    labels: NDArray[np.int64],
    ranks: NDArray[np.int64],
    *,
    probabilities: NDArray[np.float64] | None,
    served: NDArray[np.float64] | None = None,
    calibrated: NDArray[np.float64] | None = None,
    cutoffs: Sequence[int],
) -> dict[str, float]:
    """Sums over rows and over users.

    Args:
        user_ids: Integers [n], each in [0, 2**31); all rows of each user.
        scores: float [n], finite.
        labels: int64 [n], each 0 or 1.
        ranks: int64 [n], `descending_ranks` of the scores.
        probabilities: float64 [n] in [0, 1], for logloss and the gaps of calibration. None: they come from logits.
        served: float64 [n], these logits. None: the scores are the logits.
        calibrated: float64 [n], logits for the calibrated logloss and gaps. None: there are none.
        cutoffs: k of each ndcg@k.

    Returns:
        By name, in an order that depends on nothing but the cutoffs: rows, users and positives; sums of the metrics of
        users and of rows; the gap of each bin of calibration. Tallies of different users add up name by name.
    """
    ties = UserTies.from_rows(user_ids, ranks, labels)
    by_user = user_auc(ties)
    if probabilities is None:
        of_scores = _calibration_sums(scores.astype(np.float64) if served is None else served, labels, prefix="")
    else:
        gaps = _numbered(calibration_gaps(probabilities, labels))
        of_scores = {"logloss": log_losses_of_probabilities(probabilities, labels).sum(), **gaps}
    if calibrated is not None:
        of_scores |= _calibration_sums(calibrated, labels, prefix=CALIBRATED)
    sums = {
        "rows": labels.size,
        "users": ties.num_users,
        "users_left_out": ties.users_left_out,
        "rows_left_out": ties.rows_left_out,
        "positives": labels.sum(),
        "gauc": by_user.sum(),
        "gauc_impressions": (by_user * ties.rows).sum(),
        **{f"ndcg@{cutoff}": user_ndcg(ties, cutoff).sum() for cutoff in cutoffs},
        "mrr": user_mrr(ties).sum(),
        "mrr_first": user_mrr_first(ties).sum(),
        **of_scores,
    }
    return {name: float(total) for name, total in sums.items()}


def _calibration_sums(logits: NDArray[np.float64], labels: NDArray[np.int64], *, prefix: str) -> dict[str, float]:
    # σ(x) = ½(1 + tanh(x/2)) does not overflow.
    gaps = calibration_gaps(0.5 * (1.0 + np.tanh(0.5 * logits)), labels)
    return {f"{prefix}logloss": log_losses_of_logits(logits, labels).sum(), **_numbered(gaps, prefix)}


def _numbered(gaps: NDArray[np.float64], prefix: str = "") -> dict[str, float]:
    return {f"{prefix}gap {number}": gap for number, gap in enumerate(gaps)}


def metrics_of(sums: Mapping[str, float], area: float) -> dict[str, float | int]:
    """Makes the dictionary of `compute_metrics` from a whole split's sums, as `tally` gives them, and its AUC."""
    rows, users = sums["rows"], sums["users"] - sums["users_left_out"]
    by_user = [name for name in sums if name in ("gauc", "mrr", "mrr_first") or name.startswith("ndcg@")]
    means = {name: _ratio(sums[name], users) for name in by_user}
    prefixes = [prefix for prefix in ("", CALIBRATED) if f"{prefix}logloss" in sums]
    return {
        "auc": area,
        "gauc": means.pop("gauc"),
        "gauc_impressions": _ratio(sums["gauc_impressions"], rows - sums["rows_left_out"]),
        **means,
        **{name: value for prefix in prefixes for name, value in _calibration(sums, int(rows), prefix).items()},
        **{name: int(sums[name]) for name in ("rows", "users", "users_left_out", "rows_left_out")},
        "positives_share": _ratio(sums["positives"], rows),
    }


def _calibration(sums: Mapping[str, float], rows: int, prefix: str) -> dict[str, float]:
    gaps = np.array([total for name, total in sums.items() if name.startswith(f"{prefix}gap ")])
    return {
        f"{prefix}logloss": _ratio(sums[f"{prefix}logloss"], rows),
        f"{prefix}ece": expected_calibration_error(gaps, rows),
    }


def _ratio(total: float, count: float) -> float:
    return total / count if count else float("nan")
