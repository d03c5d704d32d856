"""Sorting digit by digit gives what sorting by comparison gives."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest

from distributed_il.core.radix_sort import argsort_below, sort_into_groups


@pytest.mark.parametrize("bound", [1, 2, 10, 2**16, 2**16 + 1, 2**22, 2**32, 2**33, 2**63])
@pytest.mark.parametrize("dtype", [np.int64, np.uint64])
def test_the_order_is_the_stable_one(bound: int, dtype: type) -> None:
    keys = np.random.default_rng(bound % 1000).integers(0, bound, 3_000, dtype=np.uint64).astype(dtype)
    keys[-1] = bound - 1
    assert np.array_equal(argsort_below(keys, bound), np.argsort(keys, kind="stable"))


def test_equal_keys_keep_their_order() -> None:
    # By digits of 16 bits: 1·2^16 + 0 comes twice, with 0·2^16 + 5 between.
    assert argsort_below(np.array([65_536, 5, 65_536, 0]), 2**17).tolist() == [3, 1, 0, 2]


def test_nothing_to_sort() -> None:
    assert argsort_below(np.empty(0, dtype=np.int64), 2**20).tolist() == []


def test_groups_keep_the_order_within_them() -> None:
    groups = np.random.default_rng(0).integers(0, 5, 1_000)
    groups[groups == 3] = 4
    order, borders = sort_into_groups(groups, 6)
    assert borders.tolist() == [0, *np.cumsum(np.bincount(groups, minlength=6)).tolist()]
    for group, (start, end) in enumerate(pairwise(borders)):
        assert np.array_equal(order[start:end], np.flatnonzero(groups == group))
