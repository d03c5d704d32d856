"""The trivial predictors by hand, and their marks on MovieLens-1M where it is at hand."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from distributed_il.data.sampling import PairIndex
from distributed_il.evaluation import baselines
from distributed_il.evaluation.baselines import item_mean, user_item_bias
from distributed_il.evaluation.metrics import compute_metrics


def test_item_mean_by_hand() -> None:
    # Overall 3 of 6 = ½. With s = 2: (2 + 1) / (2 + 2), (1 + 1) / (4 + 2), and ½ where there are no rows.
    means = item_mean(np.array([2, 4, 0]), np.array([2, 1, 0]), smoothing=2)
    assert means == pytest.approx([3 / 4, 1 / 3, 1 / 2])


def test_user_bias_by_hand() -> None:
    # Rows: user 0 → items 0 (1), 1 (0); user 1 → item 0 (1); user 2 → none. Overall ⅔.
    # With s = 1: item 0 is (2 + ⅔) / 3 = 8/9, item 1 is (0 + ⅔) / 2 = ⅓.
    # User 0: (1 − 8/9 − 3/9) / (2 + 1) = −2/27. User 1: (1 − 8/9) / 2 = 1/18. User 2: 0.
    observed = PairIndex.from_pairs(np.array([0, 0, 1]), np.array([0, 1, 0]), num_users=3)
    rows, positives = np.array([2, 1, 0], dtype=np.int32), np.array([1, 1, 0], dtype=np.int32)
    bias, mean = user_item_bias(rows, positives, np.array([2, 1]), np.array([2, 0]), observed, smoothing=1)
    assert mean == pytest.approx([8 / 9, 1 / 3])
    assert bias == pytest.approx([-2 / 27, 1 / 18, 0])


def test_a_repeated_pair_counts_as_often_as_its_rows() -> None:
    # User 0 has item 0 twice, user 1 once. Overall ⅔; item 0 with s = 3: (2 + 2) / (3 + 3) = ⅔.
    # User 0: (2 − 2 · ⅔) / (2 + 3) = 2/15. User 1: (0 − ⅔) / (1 + 3) = −1/6.
    observed = PairIndex.from_pairs(np.array([0, 0, 1]), np.array([0, 0, 0]), num_users=2)
    bias, _ = user_item_bias(np.array([2, 1]), np.array([2, 0]), np.array([3]), np.array([2]), observed, smoothing=3)
    assert bias == pytest.approx([2 / 15, -1 / 6])


@pytest.mark.parametrize("at_once", [1, 3, 1000])
def test_pairs_are_summed_in_parts(at_once: int, monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    users, items, labels = rng.integers(3, 20, 60), rng.permutation(60), rng.integers(0, 2, 60)
    rows, positives = np.bincount(users, minlength=25), np.bincount(users, weights=labels, minlength=25)
    observed = PairIndex.from_pairs(users, items, num_users=25)
    monkeypatch.setattr(baselines, "_PAIRS_AT_ONCE", at_once)
    label_of_item = labels[np.argsort(items)]
    bias, mean = user_item_bias(rows, positives, np.ones(60, dtype=np.int64), label_of_item, observed)
    expected = [np.sum(labels[users == user] - mean[items[users == user]]) / (rows[user] + 10) for user in range(25)]
    assert bias == pytest.approx(expected, abs=1e-12)


def test_wrong_arguments_raise() -> None:
    ones, observed = np.ones(2, dtype=np.int64), PairIndex.from_pairs(np.array([0]), np.array([0]), num_users=1)
    for call, message in (
        (lambda: item_mean(ones, ones[:1]), "num_items"),
        (lambda: item_mean(ones, ones, smoothing=0), "smoothing"),
        (lambda: item_mean(0 * ones, 0 * ones), "no training rows"),
        (lambda: user_item_bias(ones, ones, ones, ones, observed), "user_rows"),
    ):
        with pytest.raises(ValueError, match=message):
            call()


def ml1m_split(split: str) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    folder = os.environ.get("DISTRIBUTED_IL_ML1M")
    if not folder:
        pytest.skip("set DISTRIBUTED_IL_ML1M to the folder of MovieLens-1M's train.parquet and test.parquet")
    parquet = pytest.importorskip("pyarrow.parquet")
    table = parquet.read_table(Path(folder) / f"{split}.parquet", columns=["user_id", "item_id", "label"])
    users, items, labels = (table[name].to_numpy().astype(np.int64) for name in table.column_names)
    return users, items, labels


def test_marks_on_movielens_1m() -> None:
    users, items, labels = ml1m_split("train")
    num_users, num_items = 6041, 3953
    bias, mean = user_item_bias(
        np.bincount(users, minlength=num_users),
        np.bincount(users, weights=labels, minlength=num_users),
        np.bincount(items, minlength=num_items),
        np.bincount(items, weights=labels, minlength=num_items),
        PairIndex.from_pairs(users, items, num_users),
    )
    users, items, labels = ml1m_split("test")
    by_item = compute_metrics(users, mean[items], labels, probabilities=mean[items])
    by_both = compute_metrics(users, bias[users] + mean[items], labels)
    marks = {"auc": 0.7638, "gauc": 0.7563, "ndcg@10": 0.9465, "ndcg@20": 0.9505}
    assert {key: round(by_item[key], 4) for key in marks} == marks
    assert round(by_both["auc"], 4) == 0.8209
    assert by_item["users"] - by_item["users_left_out"] == 4544
