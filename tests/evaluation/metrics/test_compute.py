"""The dictionary of all metrics: its keys, its means, its counts and what it refuses."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from distributed_il.evaluation.metrics import compute_metrics

KEYS = [
    "auc",
    "gauc",
    "gauc_impressions",
    "ndcg@10",
    "ndcg@20",
    "mrr",
    "mrr_first",
    "logloss",
    "ece",
    "rows",
    "users",
    "users_left_out",
    "rows_left_out",
    "positives_share",
]


def test_every_metric_by_hand() -> None:
    # User 0: 1 0 descending (AUC 1, rank 1). User 1: 0 1 0 0 (AUC ⅔, rank 2). User 2: only positives.
    users = np.array([0, 0, 1, 1, 1, 1, 2])
    logits = np.array([1.0, -1.0, 3.0, 2.0, 1.5, 0.5, 0.0])
    result = compute_metrics(users, logits, np.array([1, 0, 0, 1, 0, 0, 1]))
    assert list(result) == KEYS
    # Positives 1, 2, 0 over negatives −1, 3, 1.5, 0.5: 2 + 3 + 1 of 12.
    assert result["auc"] == 0.5
    assert result["gauc"] == pytest.approx((1 + 2 / 3) / 2)
    assert result["gauc_impressions"] == pytest.approx((2 * 1 + 4 * 2 / 3) / 6)
    assert result["ndcg@10"] == result["ndcg@20"] == pytest.approx((1 + 1 / math.log2(3)) / 2)
    assert result["mrr"] == result["mrr_first"] == pytest.approx((1 + 1 / 2) / 2)
    assert result["positives_share"] == pytest.approx(3 / 7)
    counts = {key: result[key] for key in ("rows", "users", "users_left_out", "rows_left_out")}
    assert counts == {"rows": 7, "users": 3, "users_left_out": 1, "rows_left_out": 1}


def test_gauc_is_the_plain_mean_and_the_weighted_one_beside_it() -> None:
    rng = np.random.default_rng(5)
    users, scores, labels = rng.integers(0, 60, 900), rng.standard_normal(900), rng.integers(0, 2, 900)
    aucs = np.array([roc_auc_score(labels[users == user], scores[users == user]) for user in range(60)])
    result = compute_metrics(users, scores, labels, cutoffs=(5,))
    assert result["gauc"] == pytest.approx(aucs.mean(), abs=1e-12)
    assert result["gauc_impressions"] == pytest.approx(np.average(aucs, weights=np.bincount(users)), abs=1e-12)
    assert "ndcg@5" in result
    assert "ndcg@10" not in result


def test_served_and_calibrated_logits_have_losses_of_their_own() -> None:
    # Both rows tie as scores. Served: ±log 3, right with probability ¾; calibrated: ±log 9, with 9/10.
    columns = {"user_ids": np.zeros(2, np.int64), "scores": np.ones(2), "labels": np.array([1, 0])}
    served = np.array([math.log(3), -math.log(3)])
    result = compute_metrics(**columns, served=served, calibrated=2 * served)
    calibrated = ["calibrated_logloss", "calibrated_ece"]
    assert list(result) == [*KEYS[:9], *calibrated, *KEYS[9:]]
    assert result["auc"] == result["gauc"] == 0.5
    expected = [-math.log(3 / 4), 1 / 4, -math.log(9 / 10), 1 / 10]
    assert [result[name] for name in ("logloss", "ece", *calibrated)] == pytest.approx(expected, rel=1e-14)
    with pytest.raises(ValueError, match="1 of 2 calibrated are not finite"):
        compute_metrics(**columns, calibrated=np.array([np.nan, 0.0]))


def test_logits_and_their_probabilities_agree() -> None:
    rng = np.random.default_rng(6)
    users, logits, labels = rng.integers(0, 9, 300), rng.standard_normal(300) * 3, rng.integers(0, 2, 300)
    from_logits = compute_metrics(users, logits, labels)
    from_probabilities = compute_metrics(users, logits, labels, probabilities=1 / (1 + np.exp(-logits)))
    assert from_logits == pytest.approx(from_probabilities, rel=1e-12)


def test_column_types_of_a_dataset_do() -> None:
    rng = np.random.default_rng(7)
    users, scores, labels = (
        rng.integers(0, 9, 300),
        rng.standard_normal(300).astype(np.float32),
        rng.integers(0, 2, 300),
    )
    narrow = compute_metrics(users.astype(np.int32), scores, labels.astype(np.int8))
    assert narrow == compute_metrics(users, scores, labels)


def test_user_ids_up_to_the_largest() -> None:
    users = np.array([2**31 - 1, 0, 2**31 - 1, 0])
    assert compute_metrics(users, np.array([1.0, 2.0, 3.0, 1.0]), np.array([0, 1, 1, 0]))["gauc"] == 1.0


@pytest.mark.parametrize("labels", [[], [1, 1], [0]])
def test_what_is_undefined_is_nan(labels: list[int]) -> None:
    size = len(labels)
    result = compute_metrics(np.zeros(size, dtype=np.int64), np.zeros(size), np.array(labels, dtype=np.int64))
    for key in ("auc", "gauc", "gauc_impressions", "ndcg@10", "mrr", "mrr_first"):
        assert math.isnan(result[key])
    assert result["rows_left_out"] == result["rows"] == size


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"scores": np.array([1.0, np.nan])}, "1 of 2 scores are not finite"),
        ({"scores": np.array([1.0, np.inf])}, "not finite"),
        ({"scores": np.array([[1.0], [2.0]])}, "shape"),
        ({"labels": np.array([1])}, "shape"),
        ({"labels": np.array([1, 2])}, "0 or 1"),
        ({"labels": np.array([1, -1])}, "0 or 1"),
        ({"labels": np.array([1.0, 0.0])}, "integers"),
        ({"user_ids": np.array([0, -1])}, "user_ids"),
        ({"user_ids": np.array([0, 2**31])}, "user_ids"),
        ({"probabilities": np.array([0.5, 1.5])}, "probabilities"),
        ({"probabilities": np.array([0.5, np.nan])}, "probabilities"),
    ],
)
def test_bad_columns_are_refused(changed: dict[str, Any], message: str) -> None:
    columns: dict[str, Any] = {"user_ids": np.array([0, 0]), "scores": np.array([1.0, 0.0]), "labels": np.array([1, 0])}
    with pytest.raises(ValueError, match=message):
        compute_metrics(**(columns | changed))
