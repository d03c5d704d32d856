"""Opening a dataset finds what is missing or damaged; blocks, indexes and vocabularies come back as written."""

from __future__ import annotations

import os
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from dataset_rows import rows_in_order
from forged_datasets import fit_manifest
from random_features import random_features

from distributed_il.core.errors import UserError
from distributed_il.core.files import sha256_of
from distributed_il.data.dataset import Block, Dataset
from distributed_il.data.dataset.index_files import write_array
from distributed_il.data.sampling import PairIndex

MakeDataset = Callable[..., Dataset]


def test_it_knows_its_sizes(tiny_dataset: Dataset) -> None:
    assert (tiny_dataset.num_users, tiny_dataset.num_items, tiny_dataset.lanes) == (40, 60, 24)
    assert [tiny_dataset.rows(split) for split in ("train", "valid", "test", "unclear")] == [600, 150, 200, 100]
    assert tiny_dataset.rows("other") == 0
    assert tiny_dataset.fingerprint == tiny_dataset.manifest.fingerprint
    assert tiny_dataset.vocabulary("users").to_pylist() == list(range(40))
    assert tiny_dataset.vocabulary("items").to_pylist() == list(range(60))


def test_blocks_follow_each_other_within_a_lane(make_dataset: MakeDataset) -> None:
    dataset = make_dataset(train=100, lanes=3, row_group_rows=20)
    assert dataset.blocks("train", 0) == (
        Block(path="train/lane-000-00000.parquet", row_group=0, lane=0, start=0, rows=20),
        Block(path="train/lane-000-00000.parquet", row_group=1, lane=0, start=20, rows=14),
    )
    assert [block.rows for block in dataset.blocks("train", 2)] == [20, 13]
    assert dataset.blocks("nothing", 0) == ()
    with pytest.raises(ValueError, match="lane 3 is not below 3"):
        dataset.blocks("train", 3)


def test_a_block_is_read_in_the_columns_and_order_asked_for(tiny_dataset: Dataset) -> None:
    block = tiny_dataset.blocks("train", 5)[0]
    table = tiny_dataset.read_block(block, ["label", "user_id"])
    assert table.schema.names == ["label", "user_id"]
    assert [column.num_chunks for column in table.columns] == [1, 1]
    assert table.schema.field("label").type == pa.int8()
    with pytest.raises(UserError, match=r"lane-005-00000\.parquet has no column preference"):
        tiny_dataset.read_block(block, ["user_id", "preference"])


def test_indexes_hold_the_pairs_of_train_and_of_unclear(tiny_dataset: Dataset) -> None:
    for split, index in (("train", tiny_dataset.observed()), ("unclear", tiny_dataset.logged())):
        rows = rows_in_order(tiny_dataset, split, ["user_id", "item_id"])
        expected = PairIndex.from_pairs(rows["user_id"], rows["item_id"], 40)
        assert index is not None
        assert np.array_equal(index.indptr, expected.indptr)
        assert np.array_equal(index.items, expected.items)


def test_without_unclear_rows_nothing_is_logged(make_dataset: MakeDataset) -> None:
    dataset = make_dataset(unclear=0)
    assert dataset.logged() is None
    assert dataset.rows("unclear") == 0


def test_activity_is_that_of_the_training_rows(tiny_dataset: Dataset) -> None:
    rows = rows_in_order(tiny_dataset, "train", ["user_id", "item_id", "label"])
    activity = tiny_dataset.activity()
    for values, name, size in ((activity.user_rows, "user_id", 40), (activity.item_rows, "item_id", 60)):
        assert np.array_equal(values, np.bincount(rows[name], minlength=size))
    assert np.array_equal(activity.item_positives, np.bincount(rows["item_id"], weights=rows["label"], minlength=60))
    assert activity.user_positives.dtype == np.int64


def test_a_uri_opens_the_same_dataset(tiny_dataset: Dataset) -> None:
    other = Dataset.open(f"file://{tiny_dataset.root}")
    assert other.fingerprint == tiny_dataset.fingerprint
    assert other.read_block(other.blocks("test", 0)[0], ["label"]).num_rows == 9


@pytest.mark.parametrize("path", ["nowhere", ".", "file"])
def test_what_is_no_dataset_is_told(path: str, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(UserError, match=r"holds no manifest\.json.*distributed-il prepare"):
        Dataset.open(str(tmp_path / path))


def test_a_missing_file_is_told(tiny_dataset: Dataset) -> None:
    Path(tiny_dataset.full_path("valid/lane-003-00000.parquet")).unlink()
    with pytest.raises(UserError, match=r"valid/lane-003-00000\.parquet is missing; prepare the dataset again"):
        Dataset.open(tiny_dataset.path)


@pytest.mark.parametrize("name", ["train/lane-000-00000.parquet", "items.parquet", "observed_items.arrow"])
def test_a_truncated_file_is_told(name: str, tiny_dataset: Dataset) -> None:
    path = Path(tiny_dataset.full_path(name))
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(UserError, match=f"{name} has .* bytes instead of"):
        Dataset.open(tiny_dataset.path)


def test_a_manifest_that_is_no_text_is_told(tiny_dataset: Dataset) -> None:
    Path(tiny_dataset.full_path("manifest.json")).write_bytes(b"\xff\xfe")
    with pytest.raises(UserError, match=r"manifest\.json can't be read"):
        Dataset.open(tiny_dataset.path)


def test_damage_of_the_same_size_is_told_when_read(tiny_dataset: Dataset) -> None:
    block = tiny_dataset.blocks("train", 0)[0]
    for name in (block.path, "users.parquet"):
        path = Path(tiny_dataset.full_path(name))
        path.write_bytes(b"\0" * path.stat().st_size)
    told = "is not what was written: its SHA-256 is"
    for opened, message in ((Dataset.open(tiny_dataset.path), told), (fit_manifest(tiny_dataset), "can't be read as")):
        with pytest.raises(UserError, match=rf"lane-000-00000\.parquet {message}"):
            opened.read_block(block, ["label"])
        with pytest.raises(UserError, match=rf"users\.parquet {message}"):
            opened.activity()


@pytest.mark.parametrize("kind", ["train/lane-003", "users", "items.parquet", "observed", "logged", "users_feature_v"])
def test_no_flipped_bit_is_believed(kind: str, make_dataset: MakeDataset) -> None:
    dataset = make_dataset(lanes=4, features=random_features(40, 60))
    paths = [path for path, _ in dataset.manifest.all_files() if path.startswith(kind)]
    assert paths
    for path in map(Path, map(dataset.full_path, paths)):
        whole = path.read_bytes()
        for place in np.linspace(0, len(whole) - 1, 20).astype(int):
            damaged = bytearray(whole)
            damaged[place] ^= 1 << (place % 8)
            path.write_bytes(damaged)
            with pytest.raises(UserError, match=rf"{path.name} is not what was written"):
                _read_all(Dataset.open(dataset.path))
        path.write_bytes(whole)
        _read_all(dataset)


def _read_all(dataset: Dataset) -> None:
    for split in dataset.manifest.splits:
        for lane in range(dataset.lanes):
            for block in dataset.blocks(split, lane):
                dataset.read_block(block, ["user_id", "item_id"])
    dataset.observed()
    dataset.logged()
    for entity in ("users", "items"):
        dataset.vocabulary_digest(entity, 1)
        dataset.feature_codes(entity)
        dataset.feature_values(entity)


def test_a_file_is_hashed_once_in_a_process_until_it_changes(
    tiny_dataset: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    hashed: list[str] = []

    def counted(fs: Any, path: str) -> str:
        hashed.append(Path(path).name)
        return sha256_of(fs, path)

    monkeypatch.setattr("distributed_il.core.verified_files.sha256_of", counted)
    block = tiny_dataset.blocks("train", 5)[0]
    for dataset in (tiny_dataset, Dataset.open(tiny_dataset.path), pickle.loads(pickle.dumps(tiny_dataset))):
        dataset.read_block(block, ["label"])
        dataset.read_block(block, ["user_id"])
    assert hashed == ["lane-005-00000.parquet"]
    path = Path(tiny_dataset.full_path(block.path))
    os.utime(path, ns=(1, 1))
    tiny_dataset.read_block(block, ["label"])
    assert hashed == ["lane-005-00000.parquet"] * 2


def test_a_row_group_of_another_size_is_told(tiny_dataset: Dataset) -> None:
    block = tiny_dataset.blocks("train", 0)[0]
    with pytest.raises(UserError, match="row group 0: 25 rows instead of 7"):
        tiny_dataset.read_block(Block(path=block.path, row_group=0, lane=0, start=0, rows=7), ["label"])


def _with_columns(dataset: Dataset, block: Block, **columns: pa.Array) -> Dataset:
    """Writes a file of a lane anew, of one row group, with other values in some columns."""
    path = dataset.full_path(block.path)
    table = pq.read_table(path)
    for name, values in columns.items():
        table = table.set_column(table.column_names.index(name), name, values)
    pq.write_table(table, path)
    return fit_manifest(dataset)


@pytest.mark.parametrize(
    ("column", "wrong", "message"),
    [
        ("user_id", 40, "row 3, column user_id: 40 is not from 0 to 39"),
        ("user_id", -1, "row 3, column user_id: -1 is not from 0 to 39"),
        ("item_id", 60, "row 3, column item_id: 60 is not from 0 to 59"),
        ("item_id", -(2**31), "row 3, column item_id: -2147483648 is not from 0 to 59"),
        ("label", 2, "row 3, column label: 2 is not from 0 to 1"),
        ("label", -1, "row 3, column label: -1 is not from 0 to 1"),
        ("label", None, "column label: 1 values are missing"),
    ],
)
def test_a_value_that_is_none_of_this_dataset_is_told_with_its_place(
    column: str, wrong: int | None, message: str, tiny_dataset: Dataset
) -> None:
    block = tiny_dataset.blocks("train", 0)[0]
    table = tiny_dataset.read_block(block, ["user_id", "item_id", "label"])
    values = table.column(column).to_pylist()
    values[2] = wrong
    changed = _with_columns(tiny_dataset, block, **{column: pa.array(values, table.schema.field(column).type)})
    with pytest.raises(UserError, match=rf"train/lane-000-00000\.parquet, row group 0, {message}; prepare the dataset"):
        changed.read_block(block, ["label", "item_id", "user_id"])


def test_a_column_of_another_type_is_told(tiny_dataset: Dataset) -> None:
    block = tiny_dataset.blocks("train", 0)[0]
    labels = tiny_dataset.read_block(block, ["label"]).column("label")
    for values, kind in ((labels.cast(pa.float32()), "float"), (labels.cast(pa.string()), "string")):
        changed = _with_columns(tiny_dataset, block, label=values)
        with pytest.raises(UserError, match=f"column label: it is of type {kind} instead of int8"):
            changed.read_block(block, ["label"])


def test_a_vocabulary_that_is_not_the_manifests_is_told(tiny_dataset: Dataset) -> None:
    path = tiny_dataset.full_path("users.parquet")
    whole = pq.read_table(path)
    ids = whole.column("external_id")

    def write(name: str, values: pa.Array) -> Dataset:
        pq.write_table(whole.set_column(whole.column_names.index(name), name, values), path)
        return fit_manifest(tiny_dataset)

    pq.write_table(whole.slice(1), path)
    shorter = fit_manifest(tiny_dataset)
    for read in (lambda: shorter.vocabulary("users"), shorter.activity):
        with pytest.raises(UserError, match=r"users\.parquet has 39 rows, and the manifest counts 40"):
            read()
    changed = write("external_id", ids.cast(pa.float64()))
    with pytest.raises(UserError, match="it is of type double instead of int64 or string"):
        changed.vocabulary("users")
    changed = write("external_id", pa.array([None, *ids.to_pylist()[1:]], pa.int64()))
    with pytest.raises(UserError, match="column external_id: 1 values are missing"):
        changed.vocabulary("users")
    changed = write("train_rows", pa.array([5, -7, *[0] * 38], pa.int32()))
    with pytest.raises(UserError, match=r"users\.parquet, row 2, column train_rows: -7 is below 0"):
        changed.activity()
    changed = write("train_rows", ids.cast(pa.string()))
    with pytest.raises(UserError, match="column train_rows: it is of type string instead of whole numbers"):
        changed.activity()


@pytest.mark.parametrize(
    ("indptr", "items", "message"),
    [
        ([0] * 40 + [1], [60], r"row 1, column items: 60 is not from 0 to 59"),
        ([0] * 40 + [2], [0, -1], r"row 2, column items: -1 is not from 0 to 59"),
        ([0, 2, 1] + [2] * 38, [0, 1], r"the pairs of user 1 end before they begin"),
        ([0, 1], [0], r"is of 1 users, and the manifest counts 40"),
    ],
)
def test_an_index_that_leads_beyond_the_dataset_is_told(
    indptr: list[int], items: list[int], message: str, tiny_dataset: Dataset
) -> None:
    for name, column, values in (("indptr", "indptr", np.array(indptr)), ("items", "items", np.array(items, np.int32))):
        write_array(tiny_dataset.filesystem, tiny_dataset.root, f"observed_{name}.arrow", column, values)
    changed = fit_manifest(tiny_dataset)
    with pytest.raises(UserError, match=rf"observed_\*\.arrow.*{message}"):
        changed.observed()
