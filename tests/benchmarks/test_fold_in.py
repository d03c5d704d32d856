"""The fold-in benchmark: what it holds out is out, and what it folds in is what these users did."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from benchmarks.fold_in import labelled_items, pairs_of, rows_of, without_users
from distributed_il.data.dataset import Dataset


def test_held_out_users_are_out_of_all_that_training_sees(tiny_dataset: Dataset, tmp_path: Path) -> None:
    users = np.array([3, 17, 30])
    smaller = without_users(tiny_dataset, users, tmp_path / "smaller")
    assert (smaller.num_users, smaller.num_items) == (tiny_dataset.num_users, tiny_dataset.num_items)
    for split in ("train", "valid", "test", "unclear"):
        columns = ("user_id", "item_id")
        before, after = (
            set(zip(*(rows_of(one, split, columns)[name].tolist() for name in columns), strict=True))
            for one in (tiny_dataset, smaller)
        )
        assert after == {pair for pair in before if split == "test" or pair[0] not in users}
    for before, after in ((tiny_dataset.observed(), smaller.observed()), (tiny_dataset.logged(), smaller.logged())):
        assert before is not None
        assert after is not None
        owners, items = pairs_of(before)
        kept = ~np.isin(owners, users)
        assert np.array_equal(pairs_of(after), (owners[kept], items[kept]))


def test_labels_are_those_of_the_users_asked_for(tiny_dataset: Dataset) -> None:
    rows, users = rows_of(tiny_dataset, "train"), np.array([30, 3])
    labelled = labelled_items(rows, users, tiny_dataset.num_users)
    counts = labelled.items.degrees()
    assert set(np.flatnonzero(counts)) == set(users)
    for user in users:
        entries = slice(labelled.items.offsets[user], labelled.items.offsets[user + 1])
        found = dict(zip(labelled.items.ids[entries].tolist(), labelled.labels[entries].tolist(), strict=True))
        own = rows["user_id"] == user
        assert found == dict(zip(rows["item_id"][own].tolist(), rows["label"][own].tolist(), strict=True))
