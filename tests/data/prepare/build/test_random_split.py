"""The random split: exact shares, every row once, by the row's number and the seed alone."""

from __future__ import annotations

import numpy as np
import pytest

from distributed_il.core.counter_rng import SPLIT, hash_u64
from distributed_il.data.prepare.build.splitters import RandomSplit


@pytest.mark.parametrize("rows", [3, 10, 11, 12, 13, 14, 999, 100_000])
def test_shares_are_exact(rows: int) -> None:
    split = RandomSplit(rows, (0.6, 0.2), seed=4, chunk_rows=997)
    assert np.bincount(split.splits(0, rows), minlength=3).tolist() == list(split.sizes)
    assert split.sizes == (round(rows * 0.6), round(rows * 0.8) - round(rows * 0.6), rows - round(rows * 0.8))


def test_it_is_the_order_of_all_hashes() -> None:
    split = RandomSplit(1000, (0.5, 0.25), seed=9, chunk_rows=64)
    order = np.argsort(hash_u64(9, SPLIT, 0, np.arange(1000)))
    expected = np.repeat([0, 1, 2], split.sizes)
    assert np.array_equal(split.splits(0, 1000)[order], expected)


def test_rows_may_be_asked_for_in_any_pieces() -> None:
    split = RandomSplit(500, (0.6, 0.2), seed=0)
    whole = split.splits(0, 500)
    assert np.array_equal(np.concatenate([split.splits(n, 50) for n in range(0, 500, 50)]), whole)
    assert not np.array_equal(RandomSplit(500, (0.6, 0.2), seed=1).splits(0, 500), whole)


@pytest.mark.parametrize("rows", [0, 1, 2])
def test_few_rows_leave_splits_empty(rows: int) -> None:
    split = RandomSplit(rows, (0.6, 0.2), seed=0)
    assert sum(split.sizes) == rows == split.splits(0, rows).size
