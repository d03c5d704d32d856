"""Counts and distinct pairs of a simulated population."""

from __future__ import annotations

import numpy as np
import pytest

from distributed_il.data.prepare.simulate.population import draw_distinct_items, spread_counts


def test_counts_follow_the_shares_within_their_limits() -> None:
    shares = np.array([0.5, 0.3, 0.1, 0.1])
    counts = spread_counts(shares, 100, least=np.array([1, 1, 20, 1]), most=45)
    assert counts.sum() == 100
    # 45 is the most, 20 the least of the third; the other 35 are shared 3 : 1, rounded.
    assert counts[0] == 45
    assert counts[2] == 20
    assert counts[1] == pytest.approx(26.25, abs=1)
    assert counts[3] == pytest.approx(8.75, abs=1)


def test_counts_reach_the_limits_themselves() -> None:
    shares = np.full(3, 1 / 3)
    assert spread_counts(shares, 6, least=np.array([1, 2, 3]), most=5).tolist() == [1, 2, 3]
    assert spread_counts(shares, 15, least=np.array([1, 1, 1]), most=5).tolist() == [5, 5, 5]


def test_pairs_are_distinct_sorted_and_hold_those_given() -> None:
    num_items = 50
    counts = np.array([25, 3, 10])
    cumulative = np.cumsum(np.arange(num_items, 0, -1) / np.arange(num_items, 0, -1).sum())
    given = np.array([0 * 50 + 49, 0 * 50 + 7, 2 * 50 + 48])
    keys = draw_distinct_items(np.random.default_rng(0), counts, cumulative, given=np.sort(given))
    assert (np.diff(keys) > 0).all()
    assert np.bincount(keys // num_items).tolist() == counts.tolist()
    assert np.isin(given, keys).all()


def test_popular_items_are_drawn_by_their_popularity() -> None:
    # Each of 20,000 users draws one item, so the shares are the popularities.
    keys = draw_distinct_items(
        np.random.default_rng(0),
        np.ones(20_000, dtype=np.int64),
        np.cumsum([0.6, 0.3, 0.1]),
        given=np.empty(0, dtype=np.int64),
    )
    np.testing.assert_allclose(np.bincount(keys % 3) / 20_000, [0.6, 0.3, 0.1], atol=0.015)
