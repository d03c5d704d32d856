"""Counts of weights: which bin, the two ends, and sums over ranks."""

from __future__ import annotations

import numpy as np
import pytest

from distributed_il.training.monitor import WeightHistogram


def test_bins_by_hand() -> None:
    # Bins are 0.02 wide: 0 and 0.019 fall in the first, 0.02 opens the second, 0.5 opens bin 25, 0.99 and 1 the last.
    histogram = WeightHistogram()
    histogram.add(np.array([0.0, 0.019, 0.021, 0.5, 0.99, 1.0]))
    expected = np.zeros(50, dtype=np.int64)
    expected[[0, 1, 25, 49]] = 2, 1, 1, 2
    np.testing.assert_array_equal(histogram.counts, expected)
    assert histogram.total == 6


def test_edges_run_from_0_to_1() -> None:
    edges = WeightHistogram().edges
    assert edges.shape == (51,)
    assert (edges[0], edges[25], edges[50]) == (0.0, 0.5, 1.0)


def test_agrees_with_numpy_away_from_the_edges() -> None:
    # Weights in the middle half of each bin, where rounding can't move one to a neighbour.
    rng = np.random.default_rng(0)
    weights = (rng.integers(0, 50, 5000) + rng.uniform(0.25, 0.75, 5000)) / 50
    histogram = WeightHistogram()
    histogram.add(weights)
    np.testing.assert_array_equal(histogram.counts, np.histogram(weights, bins=50, range=(0, 1))[0])


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_parts_of_several_ranks_add_up(dtype: type[np.floating]) -> None:
    weights = np.random.default_rng(1).random(999).astype(dtype)
    whole, parts = WeightHistogram(), [WeightHistogram() for _ in range(3)]
    whole.add(weights)
    for part, share in zip(parts, np.array_split(weights, 3), strict=True):
        part.add(share)
    np.testing.assert_array_equal(sum(part.counts for part in parts), whole.counts)


def test_given_counts_are_copied() -> None:
    counts = np.arange(50)
    histogram = WeightHistogram(counts)
    histogram.add(np.array([0.0]))
    assert histogram.counts[0] == 1
    assert counts[0] == 0


def test_nothing_added_is_nothing_counted() -> None:
    histogram = WeightHistogram()
    histogram.add(np.array([], dtype=np.float32))
    assert histogram.total == 0


def test_weights_that_are_not_numbers_are_left_out() -> None:
    # A model that diverges has such weights; the trainer's own message about the loss must get the chance to come.
    histogram = WeightHistogram()
    histogram.add(np.array([np.nan, 0.5, np.nan], dtype=np.float32))
    assert histogram.total == 1
    assert histogram.counts[25] == 1
