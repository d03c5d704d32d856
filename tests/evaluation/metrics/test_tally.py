"""Sums of parts of a split against the metrics of the whole."""

from __future__ import annotations

import numpy as np
import pytest

from distributed_il.evaluation.metrics import auc, compute_metrics, descending_ranks, metrics_of, tally


@pytest.mark.parametrize("with_probabilities", [False, True])
def test_tallies_of_different_users_add_up_to_the_whole(with_probabilities: bool) -> None:
    rng = np.random.default_rng(1)
    users, labels = rng.integers(0, 80, 900), rng.integers(0, 2, 900)
    scores = np.round(rng.standard_normal(900), 1)
    probabilities = rng.random(900) if with_probabilities else None
    sums: dict[str, float] = {}
    for third in range(3):
        mine = users % 3 == third
        part = tally(
            users[mine],
            scores[mine],
            labels[mine],
            descending_ranks(scores[mine]),
            probabilities=None if probabilities is None else probabilities[mine],
            cutoffs=(3, 10),
        )
        sums = {name: sums.get(name, 0.0) + total for name, total in part.items()}
    whole = compute_metrics(users, scores, labels, probabilities=probabilities, cutoffs=(3, 10))
    assert metrics_of(sums, auc(descending_ranks(scores), labels)) == pytest.approx(whole, rel=1e-13)


def test_no_rows_have_the_names_of_any_rows() -> None:
    nothing = np.array([], dtype=np.int64)
    some = tally(
        np.array([0, 0]), np.array([1.0, 0.0]), np.array([1, 0]), np.array([0, 1]), probabilities=None, cutoffs=(5,)
    )
    none = tally(nothing, nothing * 1.0, nothing, nothing, probabilities=None, cutoffs=(5,))
    assert list(none) == list(some)
    assert set(none.values()) == {0.0}
