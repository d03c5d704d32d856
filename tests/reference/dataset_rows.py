"""Reads prepared rows back by the rule of lanes alone: global row n is row n // V of lane n % V."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from distributed_il.data.dataset import Dataset


def rows_in_order(dataset: Dataset, split: str, columns: list[str]) -> dict[str, NDArray[Any]]:
    """Columns of a split, in order of global row number."""
    lanes: list[dict[str, NDArray[Any]]] = []
    for lane in range(dataset.lanes):
        tables = [dataset.read_block(block, columns) for block in dataset.blocks(split, lane)]
        lanes.append({c: np.concatenate([t.column(c).to_numpy() for t in tables]) if tables else [] for c in columns})
    rows = range(dataset.rows(split))
    return {c: np.array([lanes[n % dataset.lanes][c][n // dataset.lanes] for n in rows]) for c in columns}


def triples_in_order(dataset: Dataset, split: str) -> list[tuple[Any, Any, int]]:
    """External user, external item and label of each row, in order of global row number."""
    users, items = dataset.vocabulary("users").to_pylist(), dataset.vocabulary("items").to_pylist()
    rows = rows_in_order(dataset, split, ["user_id", "item_id", "label"])
    return [(users[u], items[i], int(y)) for u, i, y in zip(*rows.values(), strict=True)]


def pairs_in_order(dataset: Dataset, split: str) -> list[tuple[Any, Any]]:
    """External user and item of each row, in order of global row number."""
    users, items = dataset.vocabulary("users").to_pylist(), dataset.vocabulary("items").to_pylist()
    rows = rows_in_order(dataset, split, ["user_id", "item_id"])
    return [(users[u], items[i]) for u, i in zip(*rows.values(), strict=True)]
