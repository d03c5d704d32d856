"""From tables to a dataset: no row lost or made up, exact splits, indexes as by brute force, order by seed alone."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from dataset_rows import pairs_in_order, rows_in_order, triples_in_order

from distributed_il.core.errors import UserError
from distributed_il.data.dataset import SPLITS, Dataset, DatasetWriter
from distributed_il.data.prepare import BuildOptions, Policies, build_dataset

Rows = list[tuple[Any, Any, int | None]]
"""External user and item, and label, None where unclear."""


def table(rows: Rows, **columns: Any) -> pa.Table:
    users, items, labels = zip(*rows, strict=True)
    return pa.table({"user": pa.array(users), "item": pa.array(items), "label": pa.array(labels, pa.int8()), **columns})


def chunks(rows: dict[str, Rows], size: int) -> Iterator[tuple[str, pa.Table]]:
    for split, found in rows.items():
        for start in range(0, len(found), size):
            yield split, table(found[start : start + size])


def build(path: Path, rows: dict[str, Rows], *, chunk_rows: int = 10_000, **options: Any) -> Dataset:
    settings: dict[str, Any] = {"name": "x", "rule": {"name": "binary"}, "lanes": 4, "row_group_rows": 50, **options}
    build_dataset(str(path), chunks(rows, chunk_rows), BuildOptions(**settings))
    return Dataset.open(str(path))


def random_rows(seed: int = 0, count: int = 3000, users: int = 70, items: int = 400) -> Rows:
    """Distinct pairs with gaps between the external ids, a third of them unclear."""
    rng = np.random.default_rng(seed)
    pairs = rng.choice(users * items, size=count, replace=False)
    labels = rng.integers(-1, 2, count)
    return [
        (int(p // items) * 3 + 5, int(p % items) * 2, None if y < 0 else int(y))
        for p, y in zip(pairs, labels, strict=True)
    ]


def labelled(rows: Rows) -> list[tuple[Any, Any, int]]:
    return [(user, item, label) for user, item, label in rows if label is not None]


def test_by_hand(tmp_path: Path) -> None:
    dataset = build(
        tmp_path / "data",
        {
            "train": [("b", 20, 1), ("a", 10, 0), ("b", 30, None), ("b", 20, None), ("b", 40, None)],
            "valid": [("a", 20, 1), ("b", 40, 1), ("c", 10, None)],
            "test": [("b", 10, 0), ("c", 10, 1), ("a", 10, 1)],
        },
    )
    assert dataset.vocabulary("users").to_pylist() == ["a", "b", "c"]
    assert dataset.vocabulary("items").to_pylist() == [10, 20, 30, 40]
    assert set(triples_in_order(dataset, "train")) == {("a", 10, 0), ("b", 20, 1)}
    assert set(triples_in_order(dataset, "valid")) == {("a", 20, 1), ("b", 40, 1)}
    assert set(triples_in_order(dataset, "test")) == {("b", 10, 0), ("c", 10, 1)}
    # (b, 20) has a label in train. (b, 40) has one in valid, which must not be looked at.
    assert set(pairs_in_order(dataset, "unclear")) == {("b", 30), ("b", 40)}
    logged = dataset.logged()
    assert logged is not None
    assert (logged.indptr.tolist(), logged.items.tolist()) == ([0, 0, 2, 2], [2, 3])
    observed = dataset.observed()
    assert (observed.indptr.tolist(), observed.items.tolist()) == ([0, 1, 2, 2], [0, 1])
    assert {reason: rows for reason, rows in dataset.manifest.counts.items() if rows} == {
        "rows_read": 11,
        "unclear_rows_outside_train": 1,
        "unclear_rows_with_label": 1,
        "overlapping_rows": 1,
        "unseen_rows": 2,  # (b, 40) of valid and (c, 10) of test
        "unseen_users": 1,
        "unseen_items": 1,
    }
    assert dataset.manifest.policies == {
        "duplicates": "last",
        "contradictions": "last",
        "overlap": "drop",
        "unseen": "keep",
    }


def test_unseen_rows_may_be_dropped(tmp_path: Path) -> None:
    rows: dict[str, Rows] = {
        "train": [(1, 1, 1), (2, 2, 0)],
        "valid": [(1, 2, 1), (3, 1, 1)],
        "test": [(2, 1, 0), (2, 3, 0), (3, 3, 0)],
    }
    dataset = build(tmp_path / "data", rows, policies=Policies(unseen="drop"))
    assert triples_in_order(dataset, "valid") == [(1, 2, 1)]
    assert triples_in_order(dataset, "test") == [(2, 1, 0)]
    counts = dataset.manifest.counts
    assert (counts["unseen_rows"], counts["unseen_users"], counts["unseen_items"]) == (3, 1, 1)
    rows["valid"] = [(3, 1, 1)]
    with pytest.raises(UserError, match="the split valid has no rows"):
        build(tmp_path / "other", rows, policies=Policies(unseen="drop"))


@pytest.mark.parametrize("bucket_rows", [40, 1_000_000])
def test_rows_dealt_at_random_are_all_there_in_exact_shares(bucket_rows: int, tmp_path: Path) -> None:
    rows = random_rows()
    dataset = build(tmp_path / "data", {"all": rows}, bucket_rows=bucket_rows)
    splits = {split: triples_in_order(dataset, split) for split in SPLITS}
    assert Counter(row for found in splits.values() for row in found) == Counter(labelled(rows))
    total = len(labelled(rows))
    assert [len(found) for found in splits.values()] == [
        round(0.6 * total),
        round(0.8 * total) - round(0.6 * total),
        total - round(0.8 * total),
    ]
    unclear = [(user, item) for user, item, label in rows if label is None]
    assert Counter(pairs_in_order(dataset, "unclear")) == Counter(unclear)
    assert list(tmp_path.iterdir()) == [tmp_path / "data"]


@pytest.mark.parametrize("bucket_rows", [40, 1_000_000])
def test_given_splits_keep_their_rows(bucket_rows: int, tmp_path: Path) -> None:
    rows = random_rows()
    given = {"train": rows[:2000], "valid": rows[2000:2400], "test": rows[2400:]}
    dataset = build(tmp_path / "data", given, bucket_rows=bucket_rows)
    for split, expected in given.items():
        assert Counter(triples_in_order(dataset, split)) == Counter(labelled(expected))
    logged = {(user, item) for user, item, label in given["train"] if label is None}
    assert set(pairs_in_order(dataset, "unclear")) == logged


@pytest.mark.parametrize("split", ["train", "unclear"])
def test_indexes_are_those_of_brute_force(split: str, tmp_path: Path) -> None:
    dataset = build(tmp_path / "data", {"all": random_rows()}, bucket_rows=100)
    index = dataset.observed() if split == "train" else dataset.logged()
    assert index is not None
    expected: list[list[int]] = [[] for _ in range(dataset.num_users)]
    for user, item in zip(*rows_in_order(dataset, split, ["user_id", "item_id"]).values(), strict=True):
        expected[user].append(int(item))
    assert index.num_users == dataset.num_users
    for user, items in enumerate(expected):
        assert index.items[index.indptr[user] : index.indptr[user + 1]].tolist() == sorted(items)


def test_neither_buckets_nor_chunks_nor_the_order_of_rows_matter(tmp_path: Path) -> None:
    rows = random_rows()
    shuffled = [rows[n] for n in np.random.default_rng(3).permutation(len(rows))]
    one = build(tmp_path / "one", {"all": rows})
    for name, changed, options in (
        ("buckets", rows, {"bucket_rows": 33}),
        ("chunks", rows, {"chunk_rows": 7}),
        ("order", shuffled, {"bucket_rows": 500}),
    ):
        other = build(tmp_path / name, {"all": changed}, **options)
        assert other.fingerprint == one.fingerprint, name
    for path, _ in one.manifest.all_files():
        assert Path(one.full_path(path)).read_bytes() == (tmp_path / "order" / path).read_bytes()


def test_another_seed_gives_another_split_and_order(tmp_path: Path) -> None:
    one, other = (build(tmp_path / str(seed), {"all": random_rows()}, seed=seed) for seed in (0, 1))
    assert set(triples_in_order(one, "test")) != set(triples_in_order(other, "test"))
    given = {"train": random_rows(1), "valid": random_rows(2), "test": random_rows(3)}
    keep = Policies(overlap="keep")
    one, other = (build(tmp_path / f"{seed}g", given, seed=seed, policies=keep) for seed in (0, 1))
    first, second = triples_in_order(one, "train"), triples_in_order(other, "train")
    assert first != second
    assert Counter(first) == Counter(second)


def test_the_order_is_random(tmp_path: Path) -> None:
    """Users are sorted before the shuffle; after it, neighbours and lanes must not show it."""
    dataset = build(tmp_path / "data", {"all": random_rows(count=20_000)}, bucket_rows=900)
    users = rows_in_order(dataset, "train", ["user_id"])["user_id"].astype(float)
    correlations = [np.corrcoef(users[:-lag], users[lag:])[0, 1] for lag in (1, 4)]
    correlations.append(np.corrcoef(users, np.arange(users.size))[0, 1])
    # Five standard deviations of the correlation of 8,000 independent rows.
    assert np.abs(correlations).max() < 5 / np.sqrt(users.size)


def test_preferences_stay_with_their_rows(tmp_path: Path) -> None:
    rows = random_rows()
    truth = pa.array([(user * 1000 + item) / 1e6 for user, item, _ in rows], pa.float32())
    options = BuildOptions(name="x", rule={}, preference=True, lanes=4, bucket_rows=100)
    build_dataset(str(tmp_path / "data"), [("all", table(rows, preference=truth))], options)
    dataset = Dataset.open(str(tmp_path / "data"))
    for split in (*SPLITS, "unclear"):
        assert "preference" in dataset.manifest.splits[split].columns
        kept = rows_in_order(dataset, split, ["preference"])["preference"]
        expected = [(user * 1000 + item) / 1e6 for user, item in pairs_in_order(dataset, split)]
        assert np.array_equal(kept, np.array(expected, dtype=np.float32))


def test_bad_rows_are_told_by_their_place(tmp_path: Path) -> None:
    rows: dict[str, Rows] = {"all": [(1, 1, 1), (2, 2, 0), (1, 1, 1)]}
    with pytest.raises(UserError, match="all, row 1 and all, row 3 .* user 1 and item 1"):
        build(tmp_path / "data", rows, policies=Policies(duplicates="error"))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ({}, "holds no rows"),
        ({"all": [(1, 1, 1)]}, "the split valid gets no labelled rows, of 1 rows read"),
        ({"all": [(1, 1, None), (1, 2, None)]}, "the split train gets no labelled rows"),
        ({"train": [(1, 1, 1)], "valid": [(1, 2, None)], "test": [(1, 3, 1)]}, "the split valid gets no labelled"),
        ({"train": [(1, 1, 1)], "valid": [("u", 2, 1)], "test": [(1, 3, 1)]}, "user ids are int64 in one file"),
    ],
)
def test_splits_without_rows_are_refused(rows: dict[str, Rows], message: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=message):
        build(tmp_path / "data", rows)
    assert list(tmp_path.iterdir()) == []


def test_splits_and_rows_to_be_dealt_do_not_mix(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="either every chunk has a split or none has"):
        build(tmp_path / "data", {"all": [(1, 1, 1)], "train": [(1, 2, 1)]})


def test_progress_tells_every_stage_to_its_end(tmp_path: Path) -> None:
    told: list[tuple[str, int, int]] = []
    build_dataset(
        str(tmp_path / "data"),
        chunks({"all": random_rows()}, 1000),
        BuildOptions(name="x", rule={}, bucket_rows=500),
        num_rows=3000,
        progress=lambda stage, done, total: told.append((stage, done, total)),
    )
    assert list(dict.fromkeys(stage for stage, _, _ in told)) == ["read", "group", "deduplicate", "shuffle", "write"]
    last = {stage: (done, total) for stage, done, total in told}
    assert all(done == total for done, total in last.values())


def test_a_disk_that_fills_up_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(self: DatasetWriter, split: str, table: pa.Table) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(DatasetWriter, "append", full)
    with pytest.raises(UserError, match="data: the disk is full .*make room"):
        build(tmp_path / "data", {"all": random_rows()})
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("turn", [1, -1])
def test_of_rows_that_say_where_they_stand_the_last_in_the_source_is_kept(turn: int, tmp_path: Path) -> None:
    """In whatever order their tables come."""
    pairs = [(user, item) for user in range(10) for item in range(10)]
    tables = [
        ("all", table([(user, item, label) for user, item in pairs], row=np.arange(100) + (label << 40)))
        for label in (0, 1)
    ]
    options = BuildOptions(name="x", rule={"name": "binary"}, lanes=2)
    build_dataset(str(tmp_path / "data"), tables[::turn], options)
    dataset = Dataset.open(str(tmp_path / "data"))
    kept = [row for split in SPLITS for row in triples_in_order(dataset, split)]
    assert sorted(kept) == [(user, item, 1) for user, item in pairs]
