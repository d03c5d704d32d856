"""Splits in which training sees everybody."""

from __future__ import annotations

import numpy as np
import pytest

from distributed_il.data.prepare.simulate.splits import split_rows


@pytest.mark.parametrize("seed", range(5))
def test_training_sees_every_user_and_item(seed: int) -> None:
    rng = np.random.default_rng(seed)
    # Most items have a single row, so chance alone would leave many of them out of train.
    users = rng.permutation(np.arange(400) % 100).astype(np.int32)
    items = np.concatenate([np.arange(100), np.zeros(300)]).astype(np.int32)
    splits = split_rows(rng.permutation(400), users, items, num_users=100, num_items=100)
    assert {name: len(rows) for name, rows in splits.items()} == {"train": 240, "valid": 80, "test": 80}
    assert sorted(np.concatenate(list(splits.values())).tolist()) == list(range(400))
    assert len(np.unique(users[splits["train"]])) == 100
    assert len(np.unique(items[splits["train"]])) == 100


def test_rows_stay_where_they_fell_when_nobody_is_missing() -> None:
    rows = np.random.default_rng(0).permutation(100)
    nobody = np.zeros(100, dtype=np.int32)
    splits = split_rows(rows, nobody, nobody, num_users=1, num_items=1)
    assert np.concatenate(list(splits.values())).tolist() == rows.tolist()
