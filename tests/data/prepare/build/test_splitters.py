"""Random splits have exact shares; splits by time and by last rows, and what of unclear rows training may know."""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from dataset_rows import pairs_in_order, triples_in_order

from distributed_il.core.counter_rng import SPLIT, hash_u64
from distributed_il.core.errors import UserError
from distributed_il.data.dataset import SPLITS, Dataset
from distributed_il.data.prepare import BuildOptions, PrepareConfig, build_dataset, prepare
from distributed_il.data.prepare.build.moments import sortable
from distributed_il.data.prepare.build.splitters import RandomSplit, order_statistic

Rows = list[tuple[int, int, int | None, float]]
"""User, item, label, time."""


def table(rows: Rows) -> pa.Table:
    users, items, labels, times = zip(*rows, strict=True)
    return pa.table({"user": users, "item": items, "label": pa.array(labels, pa.int8()), "time": pa.array(times)})


def build(path: Path, chunks: list[tuple[str, Rows]], **options: Any) -> Dataset:
    settings: dict[str, Any] = {"name": "x", "rule": {}, "lanes": 2, "bucket_rows": 40, **options}
    build_dataset(str(path), [(split, table(rows)) for split, rows in chunks], BuildOptions(**settings))
    return Dataset.open(str(path))


def pairs(dataset: Dataset, split: str) -> set[tuple[int, int]]:
    return {(user, item) for user, item, _ in triples_in_order(dataset, split)}


def test_by_time_by_hand(tmp_path: Path) -> None:
    rows: Rows = [(1, n, n % 2, 10.0 * n) for n in range(10)]
    rows += [(2, 1, None, 59.0), (2, 2, None, 60.0)]
    dataset = build(tmp_path / "data", [("all", rows)], split="time")
    assert pairs(dataset, "train") == {(1, n) for n in range(6)}
    assert pairs(dataset, "valid") == {(1, 6), (1, 7)}
    assert pairs(dataset, "test") == {(1, 8), (1, 9)}
    # Validation begins at 60.
    assert pairs_in_order(dataset, "unclear") == [(2, 1)]
    assert dataset.manifest.counts["unclear_rows_outside_train"] == 1


def test_rows_of_one_moment_stay_together(tmp_path: Path) -> None:
    times = [0, 1, 2, 3, 4, 5, 5, 5, 8, 9]
    dataset = build(tmp_path / "data", [("all", [(1, n, 1, float(t)) for n, t in enumerate(times)])], split="time")
    assert [pairs(dataset, split) for split in SPLITS] == [
        {(1, n) for n in range(5)},
        {(1, n) for n in (5, 6, 7)},
        {(1, 8), (1, 9)},
    ]


def random_rows(seed: int) -> Rows:
    rng = np.random.default_rng(seed)
    drawn = rng.choice(30 * 40, 400, replace=False)
    labels = rng.integers(-1, 2, 400).tolist()
    times = rng.integers(-50, 50, 400).astype(float).tolist()
    return [(n // 40, n % 40, None if y < 0 else y, t) for n, y, t in zip(drawn.tolist(), labels, times, strict=True)]


@pytest.mark.parametrize("seed", range(3))
def test_by_time_nothing_of_train_is_later_than_valid(seed: int, tmp_path: Path) -> None:
    rows = random_rows(seed)
    dataset = build(tmp_path / "data", [("all", rows)], split="time")
    time = {(user, item): t for user, item, _, t in rows}
    found = [{time[pair] for pair in pairs(dataset, split)} for split in SPLITS]
    assert max(found[0]) < min(found[1])
    assert max(found[1]) < min(found[2])
    assert {time[pair] for pair in pairs_in_order(dataset, "unclear")} == {
        t for _, _, y, t in rows if y is None and t < min(found[1])
    }
    assert sum(dataset.rows(split) for split in SPLITS) == sum(y is not None for _, _, y, _ in rows)


def test_last_out_by_hand(tmp_path: Path) -> None:
    rows: Rows = [(1, 1, 1, 5.0), (1, 2, 0, 9.0), (1, 3, 1, 7.0), (1, 4, 1, 1.0)]
    rows += [(2, 1, 1, 3.0), (2, 2, 1, 4.0)]  # two rows: all stay
    rows += [(3, 1, 1, 5.0), (3, 2, 1, 5.0), (3, 3, 1, 5.0)]  # one moment: the source's order decides
    rows += [(1, 8, None, 6.9), (1, 9, None, 7.0), (2, 9, None, 99.0)]
    dataset = build(tmp_path / "data", [("all", rows)], split="last")
    assert pairs(dataset, "test") == {(1, 2), (3, 3)}
    assert pairs(dataset, "valid") == {(1, 3), (3, 2)}
    assert pairs(dataset, "train") == {(1, 1), (1, 4), (2, 1), (2, 2), (3, 1)}
    assert set(pairs_in_order(dataset, "unclear")) == {(1, 8), (2, 9)}


@pytest.mark.parametrize("seed", range(3))
def test_last_out_against_a_plain_loop(seed: int, tmp_path: Path) -> None:
    rows = random_rows(seed)
    by_user: dict[int, list[tuple[float, int, int]]] = defaultdict(list)
    for place, (user, item, label, time) in enumerate(rows):
        if label is not None:
            by_user[user].append((time, place, item))
    expected: dict[str, set[tuple[int, int]]] = {split: set() for split in SPLITS}
    for user, found in by_user.items():
        ordered = [item for _, _, item in sorted(found)]
        held = {"test": ordered[-1:], "valid": ordered[-2:-1]} if len(ordered) > 2 else {}
        for split, items in held.items():
            expected[split] |= {(user, item) for item in items}
        expected["train"] |= {(user, item) for item in ordered} - expected["test"] - expected["valid"]
    dataset = build(tmp_path / "data", [("all", rows)], split="last")
    assert {split: pairs(dataset, split) for split in SPLITS} == expected


@pytest.mark.parametrize("split", ["random", "time", "last"])
def test_a_test_set_that_is_given_stays_whole(split: str, tmp_path: Path) -> None:
    rows: Rows = [(user, n, 1, float(n)) for user in range(4) for n in range(8)]
    given: Rows = [(1, 3, 0, 0.0), (2, 100, 1, 0.0)]
    dataset = build(tmp_path / "data", [("all", rows), ("test", given)], split=split)
    assert set(triples_in_order(dataset, "test")) == {(1, 3, 0), (2, 100, 1)}
    assert dataset.manifest.counts["overlapping_rows"] == 1
    assert dataset.rows("train") + dataset.rows("valid") == 31
    # Three quarters of 31, or with time three quarters of the moments, or one row of each user.
    assert dataset.rows("valid") == {"random": 31 - round(31 * 0.75), "time": 8, "last": 4}[split]


def test_duplicates_keep_the_latest(tmp_path: Path) -> None:
    rows: Rows = [(1, 1, 1, 5.0), (1, 1, 0, 2.0), *((2, n, 1, 3.0 + n) for n in range(9))]
    dataset = build(tmp_path / "data", [("all", rows)], split="time")
    assert (1, 1, 1) in {row for split in SPLITS for row in triples_in_order(dataset, split)}


@pytest.mark.parametrize(
    ("rank", "expected"), [(0, -3.0), (1, -0.0), (2, 0.0), (3, 1e-300), (4, 7.0), (5, 7.0), (6, 1e300)]
)
def test_order_statistics(rank: int, expected: float) -> None:
    pieces = [np.array([7.0, -3.0, 1e300]), np.array([]), np.array([0.0, 7.0, -0.0, 1e-300])]
    found = order_statistic(lambda: [sortable(piece) for piece in pieces], rank)
    assert found == sortable(np.array([expected]))[0]


def test_order_statistics_of_many_like_numbers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("distributed_il.data.prepare.build.splitters._FEW", 3)
    values = np.random.default_rng(0).integers(1_600_000_000, 1_600_000_999, 5_000).astype(np.float64)
    for rank in (0, 17, 2_500, 4_999):
        found = order_statistic(lambda: [sortable(values[:999]), sortable(values[999:])], rank)
        assert found == sortable(np.sort(values)[rank : rank + 1])[0]
    assert order_statistic(lambda: [sortable(values)], 5_000) == 2**64 - 1


def test_times_may_be_dates_and_have_to_be_there(tmp_path: Path) -> None:
    rows = "".join(f"{u},{n},1,2024-01-0{n + 1} 10:00:00\n" for u in range(3) for n in range(6))
    (tmp_path / "x.csv").write_text(f"user_id,item_id,label,timestamp\n{rows}")
    config = {"source": str(tmp_path / "x.csv"), "split": "last", "lanes": 2}
    prepare(PrepareConfig(output=str(tmp_path / "data"), **config))  # type: ignore[arg-type]
    dataset = Dataset.open(str(tmp_path / "data"))
    assert pairs(dataset, "test") == {(u, 5) for u in range(3)}
    assert dataset.manifest.rule["split"] == {"name": "last"}
    (tmp_path / "x.csv").write_text("user_id,item_id,label,timestamp\n1,1,1,2024-01-01\n1,2,1,soon\n")
    with pytest.raises(UserError, match=r"x\.csv, line 3, column timestamp: 'soon': a time is a number, or a date"):
        prepare(PrepareConfig(output=str(tmp_path / "more"), **config))  # type: ignore[arg-type]
    (tmp_path / "x.csv").write_text("user_id,item_id,label\n1,1,1\n")
    with pytest.raises(UserError, match="has no column 'timestamp'"):
        prepare(PrepareConfig(output=str(tmp_path / "more"), **config))  # type: ignore[arg-type]


@pytest.mark.parametrize("rows", [3, 10, 11, 12, 13, 14, 999, 100_000])
def test_random_shares_are_exact(rows: int) -> None:
    split = RandomSplit(rows, (0.6, 0.2), seed=4, chunk_rows=997)
    assert np.bincount(split.splits(0, rows), minlength=3).tolist() == list(split.sizes)
    assert split.sizes == (round(rows * 0.6), round(rows * 0.8) - round(rows * 0.6), rows - round(rows * 0.8))


def test_a_random_split_is_the_order_of_all_hashes() -> None:
    split = RandomSplit(1000, (0.5, 0.25), seed=9, chunk_rows=64)
    order = np.argsort(hash_u64(9, SPLIT, 0, np.arange(1000)))
    expected = np.repeat([0, 1, 2], split.sizes)
    assert np.array_equal(split.splits(0, 1000)[order], expected)


def test_a_random_split_may_be_asked_for_in_any_pieces() -> None:
    split = RandomSplit(500, (0.6, 0.2), seed=0)
    whole = split.splits(0, 500)
    assert np.array_equal(np.concatenate([split.splits(n, 50) for n in range(0, 500, 50)]), whole)
    assert not np.array_equal(RandomSplit(500, (0.6, 0.2), seed=1).splits(0, 500), whole)


@pytest.mark.parametrize("rows", [0, 1, 2])
def test_a_random_split_of_few_rows_leaves_some_empty(rows: int) -> None:
    split = RandomSplit(rows, (0.6, 0.2), seed=0)
    assert sum(split.sizes) == rows == split.splits(0, rows).size
