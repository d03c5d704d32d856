"""Global AUC against hand-computed rows and scikit-learn."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from distributed_il.evaluation.metrics import auc, class_counts, descending_ranks, half_pairs


def test_ranks_share_a_place_exactly_when_scores_are_equal() -> None:
    scores = np.array([0.5, -1.0, 0.5, 2.0, -0.0, 0.0, np.nextafter(0.5, 1)])
    assert descending_ranks(scores).tolist() == [2, 4, 2, 0, 3, 3, 1]


def test_float32_scores_tie_as_float32() -> None:
    scores = np.array([1.0, 1.0 + 1e-9])
    assert descending_ranks(scores).tolist() == [1, 0]
    assert descending_ranks(scores.astype(np.float32)).tolist() == [0, 0]


def test_auc_by_hand() -> None:
    # Positives 0.8, 0.3; negatives 0.5, 0.3. Pairs: 0.8 beats both, 0.3 loses to 0.5 and ties with 0.3: 2.5 of 4.
    ranks = descending_ranks(np.array([0.8, 0.3, 0.5, 0.3]))
    assert auc(ranks, np.array([1, 1, 0, 0])) == 0.625


@pytest.mark.parametrize("labels", [[], [1, 1], [0, 0]])
def test_auc_of_one_class_is_undefined(labels: list[int]) -> None:
    assert np.isnan(auc(descending_ranks(np.arange(len(labels)) * 1.0), np.array(labels, dtype=np.int64)))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("decimals", [0, 2, 8])
def test_auc_against_scikit_learn(dtype: type, decimals: int) -> None:
    rng = np.random.default_rng(decimals)
    labels = (rng.random(5000) < 0.3).astype(np.int64)
    scores = np.round(rng.standard_normal(5000) + labels, decimals).astype(dtype)
    assert auc(descending_ranks(scores), labels) == pytest.approx(roc_auc_score(labels, scores), abs=1e-12)


def test_classes_are_counted_at_each_rank() -> None:
    negatives, positives = class_counts(np.array([0, 2, 1, 2, 2]), np.array([1, 0, 1, 1, 0]))
    assert (negatives.tolist(), positives.tolist()) == ([0, 0, 2], [1, 1, 1])


@pytest.mark.parametrize("scale", [1, 10**9, 10**12])
def test_pairs_are_counted_exactly_however_many(scale: int) -> None:
    # From the highest score: 2 positives over 1 + 4 negatives, 3 tied with 1 and over 4, 1 tied with 4.
    counts = scale * np.array([0, 1, 4]), scale * np.array([2, 3, 1])
    assert half_pairs(*counts) == (2 * 2 * 5 + 3 * (1 + 2 * 4) + 1 * 4) * scale**2
