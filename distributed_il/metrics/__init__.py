"""Exact metrics of a whole split: ranking, classification and calibration, without sampling or loops over users."""

from distributed_il.metrics.calibration import expected_calibration_error, log_loss_of_logits, log_loss_of_probabilities
from distributed_il.metrics.classification import auc, descending_ranks
from distributed_il.metrics.ranking import UserTies, user_auc, user_mrr, user_mrr_first, user_ndcg
from distributed_il.metrics.report import evaluate

__all__ = [
    "UserTies",
    "auc",
    "descending_ranks",
    "evaluate",
    "expected_calibration_error",
    "log_loss_of_logits",
    "log_loss_of_probabilities",
    "user_auc",
    "user_mrr",
    "user_mrr_first",
    "user_ndcg",
]
