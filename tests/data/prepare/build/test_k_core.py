"""Least numbers of rows: the core that is left, under new ids, against a plain loop."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from dataset_rows import pairs_in_order, triples_in_order

from distributed_il.core.errors import UserError
from distributed_il.data.dataset import SPLITS, Dataset
from distributed_il.data.prepare import BuildOptions, build_dataset, summary_text

Rows = list[tuple[int, int, int | None]]


def build(path: Path, rows: Rows, **options: Any) -> Dataset:
    users, items, labels = zip(*rows, strict=True)
    chunk = pa.table({"user": users, "item": items, "label": pa.array(labels, pa.int8())})
    build_dataset(str(path), [("all", chunk)], BuildOptions(name="x", rule={}, lanes=2, bucket_rows=50, **options))
    return Dataset.open(str(path))


def core(rows: Rows, users: int, items: int) -> set[tuple[int, int, int]]:
    kept = [(user, item, label) for user, item, label in rows if label is not None]
    while True:
        by_user, by_item = Counter(row[0] for row in kept), Counter(row[1] for row in kept)
        left = [row for row in kept if by_user[row[0]] >= users and by_item[row[1]] >= items]
        if len(left) == len(kept):
            return set(kept)
        kept = left


@pytest.mark.parametrize("seed", range(3))
def test_the_core_is_that_of_a_plain_loop(seed: int, tmp_path: Path) -> None:
    rng = np.random.default_rng(seed)
    drawn = rng.choice(40 * 30, 400, replace=False).tolist()
    labels = rng.integers(-1, 2, 400).tolist()
    rows: Rows = [(7 * (n // 30), n % 30, None if y < 0 else y) for n, y in zip(drawn, labels, strict=True)]
    dataset = build(tmp_path / "data", rows, min_user_rows=5, min_item_rows=6)
    expected = core(rows, 5, 6)
    assert 0 < len(expected) < 240
    assert {row for split in SPLITS for row in triples_in_order(dataset, split)} == expected
    users, items = {row[0] for row in expected}, {row[1] for row in expected}
    assert dataset.vocabulary("users").to_pylist() == sorted(users)
    assert dataset.vocabulary("items").to_pylist() == sorted(items)
    unclear = {(user, item) for user, item, label in rows if label is None and user in users and item in items}
    assert set(pairs_in_order(dataset, "unclear")) == unclear
    counts = dataset.manifest.counts
    labelled = sum(label is not None for _, _, label in rows)
    assert counts["inactive_rows"] == labelled - len(expected)
    assert counts["inactive_unclear_rows"] == len(rows) - labelled - len(unclear)
    assert f"{counts['inactive_users']:,} users and {counts['inactive_items']:,} items" in summary_text(
        dataset.manifest
    )


def test_nothing_left_is_told(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no user has 3 labelled rows of items that have 1; lower min_user_rows"):
        build(tmp_path / "data", [(1, 1, 1), (2, 1, 0)], min_user_rows=3)
