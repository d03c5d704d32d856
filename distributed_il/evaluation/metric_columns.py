"""The metrics that tables for people show, in their order: one list for the terminal, TensorBoard and the pages."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

METRICS = {
    "auc": "AUC",
    "gauc": "GAUC",
    "ndcg@10": "NDCG@10",
    "ndcg@20": "NDCG@20",
    "mrr": "MRR",
    "logloss": "log loss",
    "ece": "ECE",
}
"""Headings by key of metrics.json."""
LOWER_IS_BETTER = frozenset({"logloss", "ece", "calibrated_logloss", "calibrated_ece"})


def metric_rows(predictors: Mapping[str, Mapping[str, Any]]) -> list[list[str]]:
    """Lays out metrics as a row for each predictor, such as `item_mean`: its name, then the values of `METRICS`."""
    return [
        [name.replace("_", " "), *(metric_text(metrics.get(key)) for key in METRICS)]
        for name, metrics in predictors.items()
    ]


def metric_text(value: float | None, sign: str = "") -> str:
    """Returns a value with four decimals, or a dash where it is not defined; `sign` is `+` for differences."""
    return "–" if value is None or not math.isfinite(value) else f"{value:{sign}z.4f}".replace("-", "−")
