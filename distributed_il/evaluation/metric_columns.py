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
_RANKING = {
    "recall": "Recall",
    "ndcg": "NDCG",
    "hit_rate": "hit rate",
    "precision": "precision",
    "map": "MAP",
    "mrr": "MRR",
    "coverage": "coverage",
    "popularity": "popularity",
}
_PREDICTORS = {"user_item_bias": "user + item bias", "item_co_occurrence": "item co-occurrence"}
LOWER_IS_BETTER = frozenset({"logloss", "ece", "calibrated_logloss", "calibrated_ece"})


def predictor_name(key: str) -> str:
    """Returns what people call a predictor, such as `user_item_bias`."""
    return _PREDICTORS.get(key) or key.replace("_", " ")


def metric_rows(predictors: Mapping[str, Mapping[str, Any]]) -> list[list[str]]:
    """Lays out metrics as a row for each predictor, such as `item_mean`: its name, then the values of `METRICS`."""
    return [
        [predictor_name(name), *(metric_text(metrics.get(key)) for key in METRICS)]
        for name, metrics in predictors.items()
    ]


def ranking_heading(key: str) -> str:
    """Returns what people call a metric of the ranking over all unseen items, such as `recall@20`."""
    name, _, cutoff = key.partition("@")
    return f"{_RANKING[name]}@{cutoff}"


def ranking_rows(predictors: Mapping[str, Mapping[str, Any]]) -> list[list[str]]:
    """Lays out metrics of rankings: a row for each predictor and k, with the name, the k and the metrics at k.

    The first row has the headings.
    """
    rows = [["ranking", "k", *_RANKING.values()]]
    for name, metrics in predictors.items():
        for cutoff in sorted(int(key.removeprefix("recall@")) for key in metrics if key.startswith("recall@")):
            values = (metric_text(metrics.get(f"{key}@{cutoff}")) for key in _RANKING)
            rows.append([predictor_name(name), str(cutoff), *values])
    return rows


def ranking_note(ranking: Mapping[str, Any]) -> str:
    """Says in a line whose rankings they are, of the content of `ranking` in metrics.json."""
    users, left_out, positive = (ranking[key] for key in ("users", "users_left_out", "users_with_positives"))
    sampled = ranking.get("sampled_candidates")
    given = ranking.get("given_candidates")
    among = "all items" if sampled is None else f"{sampled:,} SAMPLED items, for comparison alone, of those"
    among = among if given is None else f"{given:,} GIVEN items, those of them"
    note = f"over {among} that a user has not seen; {users:,} users"
    if users + left_out < positive:
        note += f", of the {positive:,} with positives"
    why = "seen before" + ("" if given is None else " or are not given")
    return note + (f"; {left_out:,} left out, whose positives they have {why}" if left_out else "")


def metric_text(value: float | None, sign: str = "") -> str:
    """Returns a value with four decimals, or a dash where it is not defined; `sign` is `+` for differences."""
    return "–" if value is None or not math.isfinite(value) else f"{value:{sign}z.4f}".replace("-", "−")
