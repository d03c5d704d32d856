"""Ranking metrics against hand-computed users, every order of the ties, and scikit-learn."""

from __future__ import annotations

from collections.abc import Callable
from itertools import permutations
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from sklearn.metrics import ndcg_score, roc_auc_score

from distributed_il.evaluation.metrics import UserTies, descending_ranks, user_auc, user_mrr, user_mrr_first, user_ndcg

# A user's rows as (score, label); few scores, so that ties abound.
ROWS = st.lists(st.tuples(st.integers(0, 3), st.integers(0, 1)), min_size=2, max_size=7)
DISCOUNTS = 1 / np.log2(np.arange(2, 100))


def ties_of(user_ids: Any, scores: Any, labels: Any) -> UserTies:
    return UserTies.from_rows(np.asarray(user_ids), descending_ranks(np.asarray(scores)), np.asarray(labels))


def one_user(rows: list[tuple[float, int]]) -> UserTies:
    scores, labels = zip(*rows, strict=True)
    return ties_of([0] * len(rows), scores, labels)


def ordered_auc(labels: NDArray[np.int64]) -> float:
    return float(np.mean([a < b for a in np.flatnonzero(labels == 1) for b in np.flatnonzero(labels == 0)]))


def ordered_ndcg(cutoff: int) -> Callable[[NDArray[np.int64]], float]:
    def metric(labels: NDArray[np.int64]) -> float:
        ideal = np.sort(labels)[::-1]
        return float(
            (labels * DISCOUNTS[: labels.size])[:cutoff].sum() / (ideal * DISCOUNTS[: ideal.size])[:cutoff].sum()
        )

    return metric


def ordered_mrr(labels: NDArray[np.int64]) -> float:
    return float(np.mean(1 / (np.flatnonzero(labels) + 1)))


def ordered_mrr_first(labels: NDArray[np.int64]) -> float:
    return 1 / (np.flatnonzero(labels)[0] + 1)


def over_all_orders(rows: list[tuple[float, int]], metric: Callable[[NDArray[np.int64]], float]) -> float:
    """Slow reference: the mean of the metric over every order of rows that the scores allow."""
    values: list[float] = []
    for order in permutations(rows):
        scores = [score for score, _ in order]
        if scores == sorted(scores, reverse=True):
            values.append(metric(np.array([label for _, label in order])))
    return float(np.mean(values))


def random_rows(
    number: int, users: int, dtype: type, decimals: int
) -> tuple[NDArray[Any], NDArray[Any], NDArray[np.int64]]:
    rng = np.random.default_rng(number)
    scores = np.round(rng.standard_normal(number), decimals).astype(dtype)
    return rng.integers(0, users, number).astype(np.int32), scores, rng.integers(0, 2, number)


# By hand


def test_one_user_without_ties() -> None:
    # Descending: 1 0 1 0. AUC: of 4 pairs, 3 right. NDCG@2: 1 / (1 + 1/log2 3). MRR: (1 + 1/3) / 2. First: 1.
    ties = one_user([(0.1, 0), (0.9, 1), (0.5, 0), (0.4, 1)])
    assert user_auc(ties).tolist() == [0.75]
    assert user_ndcg(ties, 2) == pytest.approx([1 / (1 + 1 / np.log2(3))], abs=1e-15)
    assert user_mrr(ties) == pytest.approx([2 / 3], abs=1e-15)
    assert user_mrr_first(ties).tolist() == [1.0]


def test_constant_scores() -> None:
    # One positive among 3: AUC ½; NDCG (1 + 1/log2 3 + ½) / 3; MRR = first = (1 + ½ + ⅓) / 3 = 11/18.
    ties = one_user([(0.0, 0), (0.0, 1), (0.0, 0)])
    assert user_auc(ties).tolist() == [0.5]
    assert user_ndcg(ties, 10) == pytest.approx([(1.5 + 1 / np.log2(3)) / 3], abs=1e-15)
    assert user_mrr(ties) == pytest.approx([11 / 18], abs=1e-15)
    assert user_mrr_first(ties) == pytest.approx([11 / 18], abs=1e-15)


def test_first_positive_among_ties() -> None:
    # Behind one negative, 2 positives among 3: the first is 1st of them in ⅔ of the orders, 2nd in ⅓: ⅔ · ½ + ⅓ · ⅓.
    ties = one_user([(2.0, 0), (1.0, 1), (1.0, 0), (1.0, 1)])
    assert user_mrr_first(ties) == pytest.approx([1 / 3 + 1 / 9], abs=1e-15)


def test_users_of_one_class_are_left_out_and_counted() -> None:
    # Users 3 (all 1) and 9 (all 0) have no AUC; user 5 ranks its pair right, user 7 wrong.
    ties = ties_of([3, 5, 9, 5, 3, 7, 7, 9, 9], [1.0, 2, 3, 1, 2, 1, 2, 2, 1], [1, 1, 0, 0, 1, 1, 0, 0, 0])
    assert (ties.num_users, ties.users_left_out, ties.rows_left_out) == (4, 2, 5)
    assert ties.rows.tolist() == [2, 2]
    assert user_auc(ties).tolist() == [1.0, 0.0]
    assert user_mrr(ties).tolist() == [1.0, 0.5]


def test_no_users_at_all() -> None:
    empty = ties_of(np.array([], dtype=np.int64), np.array([]), np.array([], dtype=np.int64))
    only_positives = ties_of([0, 0], [1.0, 2.0], [1, 1])
    for ties in (empty, only_positives):
        for metric in (user_auc, user_mrr, user_mrr_first):
            assert metric(ties).size == 0
        assert user_ndcg(ties, 10).size == 0


# Every order of the ties


@pytest.mark.parametrize(
    ("metric", "ordered"),
    [
        (user_auc, ordered_auc),
        (lambda ties: user_ndcg(ties, 3), ordered_ndcg(3)),
        (lambda ties: user_ndcg(ties, 10), ordered_ndcg(10)),
        (user_mrr, ordered_mrr),
        (user_mrr_first, ordered_mrr_first),
    ],
    ids=["auc", "ndcg@3", "ndcg@10", "mrr", "mrr_first"],
)
@given(rows=ROWS.filter(lambda rows: len({label for _, label in rows}) == 2))
def test_ties_take_the_mean_over_all_orders(
    metric: Callable[[UserTies], NDArray[np.float64]],
    ordered: Callable[[NDArray[np.int64]], float],
    rows: list[tuple[float, int]],
) -> None:
    assert metric(one_user(rows))[0] == pytest.approx(over_all_orders(rows, ordered), abs=1e-12)


@pytest.mark.parametrize(("size", "hits", "before"), [(5000, 1, 0), (5000, 2, 7), (3000, 1500, 2), (2000, 1999, 40)])
def test_first_positive_in_a_large_group(size: int, hits: int, before: int) -> None:
    scores = np.concatenate([np.ones(before), np.zeros(size)])
    labels = np.concatenate([np.zeros(size + before - hits, dtype=np.int64), np.ones(hits, dtype=np.int64)])
    # Row by row: the first positive is the j-th when those before it were negatives of the shrinking rest.
    expected, none_yet = 0.0, 1.0
    for place in range(1, size - hits + 2):
        chance = hits / (size - place + 1)
        expected += none_yet * chance / (before + place)
        none_yet *= 1 - chance
    ties = ties_of(np.zeros(size + before, dtype=np.int64), scores, labels)
    assert user_mrr_first(ties)[0] == pytest.approx(expected, rel=1e-9)


# Many users at once


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("decimals", [1, 6])
def test_users_against_scikit_learn(dtype: type, decimals: int) -> None:
    users, scores, labels = random_rows(3000, 150, dtype, decimals)
    ties = ties_of(users, scores, labels)
    both = [user for user in np.unique(users) if 0 < labels[users == user].mean() < 1]
    expected_auc = [roc_auc_score(labels[users == user], scores[users == user]) for user in both]
    np.testing.assert_allclose(user_auc(ties), expected_auc, rtol=0, atol=1e-12)
    for cutoff in (1, 10, 20):
        expected = [
            ndcg_score(labels[None, users == user], scores[None, users == user], k=cutoff, ignore_ties=False)
            for user in both
        ]
        np.testing.assert_allclose(user_ndcg(ties, cutoff), expected, rtol=0, atol=1e-12)


def test_many_users_equal_one_at_a_time() -> None:
    users, scores, labels = random_rows(2000, 200, np.float64, 1)
    together = ties_of(users, scores, labels)
    alone = [ties_of(users[users == user], scores[users == user], labels[users == user]) for user in np.unique(users)]
    assert together.users_left_out == sum(ties.users_left_out for ties in alone)
    assert together.rows_left_out == sum(ties.rows_left_out for ties in alone)
    for metric in (user_auc, user_mrr, user_mrr_first, lambda ties: user_ndcg(ties, 5)):
        expected = np.concatenate([metric(ties) for ties in alone])
        np.testing.assert_allclose(metric(together), expected, rtol=0, atol=1e-12)


def test_order_of_rows_does_not_matter() -> None:
    users, scores, labels = random_rows(500, 40, np.float32, 1)
    order = np.random.default_rng(0).permutation(500)
    first, second = ties_of(users, scores, labels), ties_of(users[order], scores[order], labels[order])
    for metric in (user_auc, user_mrr, user_mrr_first, lambda ties: user_ndcg(ties, 5)):
        assert metric(first).tolist() == metric(second).tolist()
