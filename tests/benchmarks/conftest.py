"""A small log of ratings, in the files that MovieLens-1M comes in."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

USERS, ITEMS, PAIRS = 120, 90, 4_400


@pytest.fixture
def ratings(tmp_path: Path) -> Path:
    """A directory of train.parquet, valid.parquet and test.parquet, 60 / 20 / 20."""
    rng = np.random.default_rng(0)
    users, items = np.divmod(np.arange(USERS * ITEMS), ITEMS)
    # They are shown items of their own third more often.
    weights = np.where((users + items) % 3 == 0, 25.0, 1.0)
    pairs = rng.choice(USERS * ITEMS, size=PAIRS, replace=False, p=weights / weights.sum())
    users, items = users[pairs], items[pairs]
    # Users like items of their own parity.
    stars = np.clip(rng.integers(1, 5, PAIRS) + 2 * ((users + items) % 2 == 0), 1, 5)
    table = pa.table(
        {"user_id": users + 1, "item_id": items + 1, "rating": stars, "label": (stars > 2).astype(np.int8)}
    )
    place = tmp_path / "ratings"
    place.mkdir()
    first, second = round(0.6 * PAIRS), round(0.8 * PAIRS)
    pq.write_table(table.slice(0, first).drop_columns("rating"), place / "train.parquet")
    pq.write_table(table.slice(first, second - first), place / "valid.parquet")
    pq.write_table(table.slice(second), place / "test.parquet")
    return place


@pytest.fixture
def stars(ratings: Path) -> dict[tuple[int, int], int]:
    """Stars of the rated pairs, by user and item."""
    found: dict[tuple[int, int], int] = {}
    for split in ("valid", "test"):
        columns = pq.read_table(ratings / f"{split}.parquet", columns=["user_id", "item_id", "rating"]).to_pydict()
        triples = zip(*columns.values(), strict=True)
        found |= {(user, item): rating for user, item, rating in triples}
    return found
