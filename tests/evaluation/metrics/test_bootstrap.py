"""The bootstrap over users, against values worked out by hand and against a slow one."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from distributed_il.evaluation.metrics import compute_metrics, log_losses_of_logits
from distributed_il.evaluation.metrics.bootstrap import Estimate, bootstrap


def random_split(seed: int, rows: int = 60, users: int = 8) -> tuple[Any, Any, Any]:
    """User ids with gaps between them, scores with ties, labels."""
    rng = np.random.default_rng(seed)
    return (
        rng.integers(0, users, rows) * 7 + 3,
        rng.integers(-5, 5, rows).astype(np.float32),
        rng.integers(0, 2, rows).astype(np.int8),
    )


def estimates(users: Any, scores: Any, labels: Any, **options: Any) -> dict[str, Estimate]:
    return bootstrap(users, scores, labels, log_losses_of_logits(scores, labels), **{"seed": 0, **options})


@pytest.mark.parametrize("seed", range(5))
def test_values_are_those_of_the_whole_split(seed: int) -> None:
    users, scores, labels = random_split(seed)
    whole = compute_metrics(users, scores, labels)
    found = estimates(users, scores, labels, resamples=2)
    assert {name: one.value for name, one in found.items()} == pytest.approx({name: whole[name] for name in found})
    assert list(found) == ["auc", "gauc", "ndcg@10", "ndcg@20", "mrr", "logloss"]


def test_a_resample_is_the_split_with_each_drawn_user_as_often_as_drawn() -> None:
    users, scores, labels = random_split(9)
    found = estimates(users, scores, labels, seed=4, resamples=20)
    distinct, generator = np.unique(users), np.random.default_rng(4)
    for number in range(20):
        drawn = distinct[generator.integers(0, distinct.size, distinct.size)]
        # A user that is drawn twice is two users with the same rows.
        places = [np.flatnonzero(users == user) for user in drawn]
        copies = np.repeat(np.arange(drawn.size), [one.size for one in places])
        rows = np.concatenate(places)
        slow = compute_metrics(copies, scores[rows], labels[rows])
        assert {name: one.resampled[number] for name, one in found.items()} == pytest.approx(
            {name: slow[name] for name in found}, nan_ok=True
        )


def test_users_who_are_all_alike_leave_a_point() -> None:
    # Each user has scores 2, 1, 0 with labels 1, 0, 1: AUC ½, over users too; MRR (1 + 1/3) / 2.
    users, scores = np.repeat(np.arange(50), 3), np.tile([2.0, 1.0, 0.0], 50)
    found = estimates(users, scores, np.tile([1, 0, 1], 50))
    for name, value in (("auc", 0.5), ("gauc", 0.5), ("mrr", 2 / 3)):
        assert found[name].value == pytest.approx(value)
        assert found[name].interval() == pytest.approx((value, value))


def test_an_interval_holds_the_middle_of_the_resamples() -> None:
    assert Estimate(0.0, np.arange(1001) / 1000).interval() == pytest.approx((0.025, 0.975))
    assert Estimate(0.0, np.array([1.0, math.nan, 1.0])).interval() == (1.0, 1.0)
    assert all(map(math.isnan, Estimate(math.nan, np.array([math.nan])).interval()))


def test_its_width_is_that_of_the_mean_over_users() -> None:
    # GAUC of 400 users, each 0 or 1 with equal chance: a mean with standard error ½ / √400 = 0.025.
    rng = np.random.default_rng(1)
    right = rng.integers(0, 2, 400)
    users, labels = np.repeat(np.arange(400), 2), np.tile([1, 0], 400)
    scores = np.where(labels == 1, 0.0, np.where(np.repeat(right, 2) == 1, -1.0, 1.0))
    low, high = estimates(users, scores, labels)["gauc"].interval()
    assert high - low == pytest.approx(2 * 1.96 * 0.025, rel=0.1)
    assert low < right.mean() < high


def test_models_are_compared_on_the_same_users() -> None:
    # One model is better by 0.1 for every user alike: the difference is certain, however much the users differ.
    users, scores, labels = random_split(3, rows=200, users=20)
    one = bootstrap(users, scores, labels, np.arange(200.0), seed=0)["logloss"]
    other = bootstrap(users, -scores, labels, np.arange(200.0) - 0.1, seed=0)["logloss"]
    assert one.less(other).value == pytest.approx(0.1)
    assert one.less(other).interval() == pytest.approx((0.1, 0.1))
    low, high = one.interval()
    assert high - low > 1


def test_what_is_undefined_is_nan() -> None:
    found = estimates(np.array([0, 1]), np.array([1.0, 0.0]), np.array([1, 1]), resamples=3)
    assert math.isnan(found["auc"].value)
    assert math.isnan(found["gauc"].value)
    assert found["logloss"].value > 0
    empty = estimates(np.zeros(0, np.int64), np.zeros(0), np.zeros(0, np.int8), resamples=3)
    assert all(math.isnan(one.value) for one in empty.values())
