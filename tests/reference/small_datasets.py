"""Prepared datasets of a few hundred random rows."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from distributed_il.data.dataset import Dataset, DatasetWriter
from distributed_il.data.features import Features
from distributed_il.data.sampling import PairIndex

SplitRows = dict[str, dict[str, np.ndarray[Any, Any]]]


def random_rows(rng: np.random.Generator, num_users: int, num_items: int, sizes: dict[str, int]) -> SplitRows:
    """Distinct random pairs, dealt to splits; a label is likelier 1 where user and item have the same parity."""
    total = sum(sizes.values())
    pairs = rng.choice(num_users * num_items, size=total, replace=False)
    splits: SplitRows = {}
    start = 0
    for split, size in sizes.items():
        chosen = pairs[start : start + size]
        start += size
        users, items = (chosen // num_items).astype(np.int32), (chosen % num_items).astype(np.int32)
        splits[split] = {"user_id": users, "item_id": items}
        if split != "unclear":
            likely = np.where((users + items) % 2 == 0, 0.8, 0.2)
            splits[split]["label"] = (rng.random(size) < likely).astype(np.int8)
    return splits


def write_dataset(
    path: Path | str,
    splits: SplitRows,
    *,
    num_users: int,
    num_items: int,
    lanes: int = 24,
    row_group_rows: int = 65_536,
    users: pa.Array | None = None,
    features: Features | None = None,
) -> Dataset:
    """Writes rows as they stand, so that row n of a split is its global row n, and opens the dataset.

    External ids are 0, 1, … unless others are given for the users. Side features are called `column0`, `column1`, …
    and their values v1, v2, …
    """
    with DatasetWriter(
        str(path), name="tiny", rule={"name": "binary"}, lanes=lanes, row_group_rows=row_group_rows
    ) as writer:
        for split, columns in splits.items():
            writer.append(split, pa.table(columns))
        for index, split in (("observed", "train"), ("logged", "unclear")):
            if split in splits:
                pairs = PairIndex.from_pairs(splits[split]["user_id"], splits[split]["item_id"], num_users)
                owners = np.repeat(np.arange(num_users), np.diff(pairs.indptr))
                writer.write_index(index, [(owners, pairs.items)], num_users)
        if features is not None:
            for entity, codes, values, widths in (
                ("users", features.users, features.user_values, features.user_widths),
                ("items", features.items, features.item_values, features.item_widths),
            ):
                named = {
                    f"column{c}": pa.array([f"v{k + 1}" for k in range(count)], pa.string())
                    for c, count in enumerate(values)
                }
                if named:
                    writer.write_features(entity, codes.numpy(), named, widths)
        users = pa.array(range(num_users), pa.int64()) if users is None else users
        writer.finish(users=users, items=pa.array(range(num_items), pa.int64()))
    return Dataset.open(str(path))


def make_small_dataset(
    path: Path,
    *,
    num_users: int = 40,
    num_items: int = 60,
    train: int = 600,
    valid: int = 150,
    test: int = 200,
    unclear: int = 100,
    seed: int = 0,
    lanes: int = 24,
    row_group_rows: int = 65_536,
    features: Features | None = None,
) -> Dataset:
    """A dataset of random rows with something to learn in them."""
    sizes = {"train": train, "valid": valid, "test": test, "unclear": unclear}
    rows = random_rows(
        np.random.default_rng(seed), num_users, num_items, {split: size for split, size in sizes.items() if size}
    )
    return write_dataset(
        path,
        rows,
        num_users=num_users,
        num_items=num_items,
        lanes=lanes,
        row_group_rows=row_group_rows,
        features=features,
    )
