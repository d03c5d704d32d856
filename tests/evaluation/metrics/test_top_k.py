"""Metrics of the first k items by hand, and with ties as means over all orders."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from plain_rankings import metrics_of_order

from distributed_il.evaluation.metrics import UserTies, descending_ranks, top_k_metrics


def ties_of(scores: Sequence[Sequence[float]], labels: Sequence[Sequence[int]]) -> UserTies:
    users = np.repeat(np.arange(len(scores)), [len(own) for own in scores])
    joined = np.concatenate([np.array(own, float) for own in scores])
    return UserTies.from_rows(users, descending_ranks(joined), np.concatenate([np.array(own) for own in labels]))


def test_by_hand() -> None:
    # Relevant at ranks 1 and 3 of four; and one of the two at rank 2 or 3, tied.
    found = top_k_metrics(ties_of([[9, 8, 7, 6], [9, 5, 5, 1]], [[1, 0, 1, 0], [0, 1, 0, 0]]), 2)
    third = 1 / math.log2(3)
    assert found["recall"] == pytest.approx([1 / 2, 1 / 2])
    assert found["ndcg"] == pytest.approx([1 / (1 + third), third / 2])
    assert found["hit_rate"] == pytest.approx([1, 1 / 2])
    assert found["precision"] == pytest.approx([1 / 2, 1 / 4])
    assert found["map"] == pytest.approx([1 / 2, 1 / 4])
    assert found["mrr"] == pytest.approx([1, 1 / 4])
    wider = top_k_metrics(ties_of([[9, 8, 7, 6]], [[1, 0, 1, 0]]), 3)
    assert wider["map"] == pytest.approx([(1 + 2 / 3) / 2])
    assert wider["precision"] == pytest.approx([2 / 3])
    far = top_k_metrics(ties_of([[9, 8, 7, 6]], [[0, 0, 0, 1]]), 3)
    assert all(values.tolist() == [0.0] for values in far.values())


@settings(max_examples=60)
@given(
    st.lists(
        st.lists(st.tuples(st.integers(0, 2), st.integers(0, 1)), min_size=2, max_size=6).filter(
            lambda rows: 0 < sum(label for _, label in rows) < len(rows)
        ),
        min_size=1,
        max_size=3,
    ),
    st.integers(1, 7),
)
def test_ties_count_as_the_mean_over_their_orders(users: list[list[tuple[int, int]]], k: int) -> None:
    found = top_k_metrics(ties_of([[s for s, _ in own] for own in users], [[y for _, y in own] for own in users]), k)
    for place, own in enumerate(users):
        positives = sum(label for _, label in own)
        orders = [
            o for o in itertools.permutations(own) if [s for s, _ in o] == sorted((s for s, _ in o), reverse=True)
        ]
        each = [metrics_of_order([label == 1 for _, label in order], positives, k) for order in orders]
        for name, values in found.items():
            assert values[place] == pytest.approx(np.mean([one[name] for one in each]), abs=1e-12)
