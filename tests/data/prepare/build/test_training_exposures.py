"""Pairs that are held out are no exposures that training may know of."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from dataset_rows import pairs_in_order

from distributed_il.data.dataset import Dataset
from distributed_il.data.exposure import Neighbours
from distributed_il.data.prepare import BuildOptions, Policies, build_dataset
from distributed_il.data.prepare.build import training_exposures as module
from distributed_il.data.prepare.build.training_exposures import training_exposures

Rows = list[tuple[int, int, int | None]]


def build(path: Path, rows: dict[str, Rows], **options: object) -> Dataset:
    tables = []
    for split, found in rows.items():
        users, items, labels = zip(*found, strict=True)
        tables.append((split, pa.table({"user": users, "item": items, "label": pa.array(labels, pa.int8())})))
    build_dataset(str(path), tables, BuildOptions(name="x", rule={}, lanes=2, row_group_rows=50, **options))
    return Dataset.open(str(path))


def pairs(dataset: Dataset, index: Neighbours) -> list[tuple[int, int]]:
    users, items = dataset.vocabulary("users").to_pylist(), dataset.vocabulary("items").to_pylist()
    owners = np.repeat(np.arange(index.rows), index.degrees())
    return [(users[user], items[item]) for user, item in zip(owners, index.ids, strict=True)]


def test_the_logged_index_holds_pairs_of_valid_and_test_and_they_are_left_out(tmp_path: Path) -> None:
    dataset = build(
        tmp_path / "data",
        {
            "train": [(1, 10, 1), (1, 20, None), (1, 30, None), (2, 10, None), (2, 20, None), (2, 30, 0)],
            "valid": [(1, 20, 1), (2, 30, 0)],
            "test": [(2, 10, 1), (3, 10, 0)],
        },
    )
    logged = dataset.logged()
    assert logged is not None
    assert pairs(dataset, Neighbours(logged.indptr, logged.items)) == [(1, 20), (1, 30), (2, 10), (2, 20)]
    found = training_exposures(dataset, tmp_path)
    observed, logged_kept = found.exposures.by_user
    assert pairs(dataset, observed) == [(1, 10), (2, 30)]
    assert pairs(dataset, logged_kept) == [(1, 30), (2, 20)]
    assert found.counts == {"observed": 2, "logged": 2}
    assert found.left_out == {"observed": 0, "logged": 2}


def test_labelled_pairs_that_are_held_out_too_are_left_out(tmp_path: Path) -> None:
    rows: dict[str, Rows] = {
        "train": [(1, 10, 1), (1, 20, 1), (2, 20, 0)],
        "valid": [(1, 10, 1)],
        "test": [(2, 20, 0), (2, 10, 1)],
    }
    found = training_exposures(build(tmp_path / "data", rows, policies=Policies(overlap="keep")), tmp_path)
    assert found.counts == {"observed": 1}
    assert found.left_out == {"observed": 2}


@pytest.mark.parametrize("chunk", [1, 17, 1 << 22])
def test_random_rows_by_brute_force(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, chunk: int) -> None:
    monkeypatch.setattr(module, "_CHUNK", chunk)
    rng = np.random.default_rng(0)
    drawn = zip(rng.integers(30, size=900), rng.integers(40, size=900), rng.integers(-1, 2, 900), strict=True)
    rows: Rows = [(int(user), int(item), None if label < 0 else int(label)) for user, item, label in drawn]
    dataset = build(tmp_path / "data", {"all": rows})
    held_out = {pair for split in ("valid", "test") for pair in pairs_in_order(dataset, split)}
    found = training_exposures(dataset, tmp_path)
    for index, name, split in zip(found.exposures.by_user, found.counts, ("train", "unclear"), strict=True):
        before = set(pairs_in_order(dataset, split))
        assert set(pairs(dataset, index)) == before - held_out
        assert found.counts[name] == len(before - held_out)
        assert found.left_out[name] == len(before & held_out)
    assert found.left_out["logged"] > 20
    # Both sides hold the same pairs.
    users, items = Counter[tuple[int, int]](), Counter[tuple[int, int]]()
    for index in found.exposures.by_user:
        users.update(zip(np.repeat(np.arange(index.rows), index.degrees()).tolist(), index.ids.tolist(), strict=True))
    for index in found.exposures.by_item:
        items.update(zip(index.ids.tolist(), np.repeat(np.arange(index.rows), index.degrees()).tolist(), strict=True))
    assert users == items
