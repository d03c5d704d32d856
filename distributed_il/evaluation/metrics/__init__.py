"""Exact metrics of a whole split: ranking, classification and calibration, without sampling or loops over users."""

from distributed_il.evaluation.metrics.calibration import (
    calibration_gaps,
    expected_calibration_error,
    log_losses_of_logits,
    log_losses_of_probabilities,
)
from distributed_il.evaluation.metrics.classification import auc, class_counts, descending_ranks, half_pairs
from distributed_il.evaluation.metrics.compute import check_columns, compute_metrics
from distributed_il.evaluation.metrics.ranking import UserTies, user_auc, user_mrr, user_mrr_first, user_ndcg
from distributed_il.evaluation.metrics.tally import metrics_of, tally
from distributed_il.evaluation.metrics.top_k import top_k_metrics

__all__ = [
    "UserTies",
    "auc",
    "calibration_gaps",
    "check_columns",
    "class_counts",
    "compute_metrics",
    "descending_ranks",
    "expected_calibration_error",
    "half_pairs",
    "log_losses_of_logits",
    "log_losses_of_probabilities",
    "metrics_of",
    "tally",
    "top_k_metrics",
    "user_auc",
    "user_mrr",
    "user_mrr_first",
    "user_ndcg",
]
