"""A dataset appears whole or not at all, the same for the same rows."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from dataset_rows import rows_in_order
from remote_directory import serve_as_remote
from small_datasets import random_rows, write_dataset

from distributed_il.core.errors import UserError
from distributed_il.data.dataset import Dataset, DatasetWriter, SourceFile

MakeDataset = Callable[..., Dataset]


def table(rows: int, **columns: Any) -> pa.Table:
    values = {"user_id": np.arange(rows, dtype=np.int32), "item_id": np.zeros(rows, dtype=np.int32)}
    return pa.table({**values, "label": np.ones(rows, dtype=np.int8), **columns})


def writer(path: Path, **options: Any) -> DatasetWriter:
    return DatasetWriter(str(path), name="x", rule={"name": "binary"}, **options)


def fill(target: DatasetWriter, rows: int = 3) -> None:
    for split in ("train", "valid", "test"):
        target.append(split, table(rows))
    target.write_index("observed", [(np.arange(rows), np.zeros(rows, dtype=np.int64))], rows)


def finish(target: DatasetWriter, rows: int = 3, **options: Any) -> None:
    target.finish(users=pa.array([f"u{n}" for n in range(rows)]), items=pa.array([7]), **options)


@pytest.mark.parametrize(("lanes", "row_group_rows"), [(1, 7), (5, 16), (24, 65_536), (512, 1)])
def test_rows_are_read_back_in_their_order(lanes: int, row_group_rows: int, tmp_path: Path) -> None:
    sizes = {"train": 400, "valid": 100, "test": 3, "unclear": 60}
    rows = random_rows(np.random.default_rng(1), 40, 60, sizes)
    dataset = write_dataset(
        tmp_path / "data", rows, num_users=40, num_items=60, lanes=lanes, row_group_rows=row_group_rows
    )
    for split, columns in rows.items():
        read = rows_in_order(dataset, split, list(columns))
        assert all(np.array_equal(read[name], columns[name]) for name in columns)
        assert dataset.manifest.splits[split].positives == columns.get("label", np.zeros(0)).sum()


def test_the_same_rows_give_the_same_bytes(make_dataset: MakeDataset) -> None:
    one, other, changed = make_dataset("one"), make_dataset("other"), make_dataset("changed", seed=1)
    assert one.fingerprint == other.fingerprint != changed.fingerprint
    for path, _ in one.manifest.all_files():
        assert Path(one.full_path(path)).read_bytes() == Path(other.full_path(path)).read_bytes()


def test_activity_counts_training_rows_alone(tmp_path: Path) -> None:
    with writer(tmp_path / "data") as target:
        target.append("train", table(2, label=np.array([1, 0], dtype=np.int8)))
        target.append("train", table(3))
        target.append("valid", table(6))
        target.append("test", table(6))
        target.write_index("observed", [(np.arange(3), np.zeros(3, dtype=np.int64))], 6)
        finish(target, 6)
    activity = Dataset.open(str(tmp_path / "data")).activity()
    assert activity.user_rows.tolist() == [2, 2, 1, 0, 0, 0]
    assert activity.user_positives.tolist() == [2, 1, 1, 0, 0, 0]
    assert (activity.item_rows.tolist(), activity.item_positives.tolist()) == ([5], [4])


def test_further_columns_are_kept(tmp_path: Path) -> None:
    with writer(tmp_path / "data", lanes=2) as target:
        for split in ("train", "valid", "test"):
            target.append(split, table(3))
        target.write_index("observed", [(np.arange(3), np.zeros(3, dtype=np.int64))], 5)
        target.append("unclear", table(5, preference=np.linspace(0, 1, 5, dtype=np.float32)).drop(["label"]))
        target.write_index("logged", [(np.arange(3), np.zeros(3, dtype=np.int64))], 5)
        with pytest.raises(ValueError, match="ids go up to"):
            finish(target, 3)
        finish(target, 5)
    dataset = Dataset.open(str(tmp_path / "data"))
    assert dataset.manifest.splits["unclear"].columns == ("user_id", "item_id", "preference")
    assert rows_in_order(dataset, "unclear", ["preference"])["preference"].tolist() == [0, 0.25, 0.5, 0.75, 1]


def test_what_it_is_told_stands_in_the_manifest(tmp_path: Path) -> None:
    with writer(tmp_path / "data", seed=5) as target:
        fill(target)
        source = [SourceFile(path="x.csv", bytes=1, sha256="ab")]
        finish(target, policies={"overlap": "drop"}, counts={"rows_read": 9}, source=source)
    manifest = Dataset.open(str(tmp_path / "data")).manifest
    assert (manifest.seed, manifest.policies, manifest.counts) == (5, {"overlap": "drop"}, {"rows_read": 9})
    assert manifest.source == tuple(source)
    assert manifest.id_type == {"user": "string", "item": "int64"}


def fail_halfway(path: Path) -> None:
    with writer(path, row_group_rows=1) as target:
        fill(target)
        assert not path.exists()
        raise RuntimeError("halfway")


def test_an_error_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match="halfway"):
        fail_halfway(tmp_path / "data")
    assert list(tmp_path.iterdir()) == []


def test_leaving_early_leaves_nothing(tmp_path: Path) -> None:
    with writer(tmp_path / "data") as target:
        fill(target)
    assert list(tmp_path.iterdir()) == []


def test_a_place_that_is_taken_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "x").write_text("mine")
    with pytest.raises(UserError, match="is not empty"):
        writer(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["x"]


@pytest.mark.parametrize("missing", ["train", "valid", "test"])
def test_an_empty_split_is_refused(missing: str, tmp_path: Path) -> None:
    with writer(tmp_path / "data") as target:
        for split in {"train", "valid", "test"} - {missing}:
            target.append(split, table(3))
        target.append(missing, table(0))
        target.write_index("observed", [], 3)
        with pytest.raises(UserError, match=f"the split {missing} has no rows"):
            finish(target)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("split", "rows", "message"),
    [
        ("tset", table(2), "no split 'tset'"),
        ("train", table(2).drop(["label"]), "needs a column label of type int8"),
        ("train", table(2, user_id=np.arange(2)), "needs a column user_id of type int32"),
        ("train", table(2, label=pa.array([1, None], pa.int8())), "must not hold nulls"),
        ("train", table(2, user_id=np.array([0, -1], dtype=np.int32)), "an id below 0"),
        ("train", table(2, label=np.array([1, 2], dtype=np.int8)), "a label other than 0 and 1"),
    ],
)
def test_tables_of_another_form_are_refused(split: str, rows: pa.Table, message: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=message), writer(tmp_path / "data") as target:
        target.append(split, rows)


def test_indexes_and_vocabularies_of_another_form_are_refused(tmp_path: Path) -> None:
    with writer(tmp_path / "data") as target:
        for split in ("train", "valid", "test"):
            target.append(split, table(3))
        with pytest.raises(ValueError, match="write the observed index"):
            finish(target)
    with writer(tmp_path / "data") as target:
        fill(target)
        with pytest.raises(ValueError, match="external ids must be int64 or string"):
            target.finish(users=pa.array([1.0, 2.0, 3.0]), items=pa.array([7]))


@pytest.mark.parametrize("options", [{"lanes": 0}, {"lanes": 513}, {"row_group_rows": 0}])
def test_numbers_out_of_range_are_refused(options: dict[str, int], tmp_path: Path) -> None:
    with pytest.raises(UserError, match=f"{next(iter(options))} is .*must"):
        writer(tmp_path / "data", **options)


def test_a_full_disk_is_told_and_leaves_nothing(tmp_path: Path) -> None:
    code = """
import resource, sys
from pathlib import Path
from small_datasets import make_small_dataset
from distributed_il.core.errors import UserError
resource.setrlimit(resource.RLIMIT_FSIZE, (2000, 2000))
try:
    make_small_dataset(Path(sys.argv[1]), lanes=1)
except UserError as error:
    print(error)
"""
    reference = str(Path(__file__).parents[2] / "reference")
    program = [sys.executable, "-W", "error", "-c", f"import sys; sys.path.insert(0, {reference!r})\n{code}"]
    result = subprocess.run([*program, str(tmp_path / "data")], capture_output=True, text=True, check=False)
    assert "data: the disk takes no files of that size" in result.stdout
    assert result.stderr == ""
    assert list(tmp_path.iterdir()) == []


def test_elsewhere_the_manifest_comes_last(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    serve_as_remote(monkeypatch, tmp_path)
    with DatasetWriter("remote://data", name="x", rule={}) as target:
        fill(target)
        assert (tmp_path / "data" / "train").is_dir()
        assert not (tmp_path / "data" / "manifest.json").exists()
    assert list(tmp_path.iterdir()) == []


def test_elsewhere_a_dataset_is_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    serve_as_remote(monkeypatch, tmp_path)
    sizes = {"train": 400, "valid": 100, "test": 30, "unclear": 60}
    rows = random_rows(np.random.default_rng(1), 40, 60, sizes)
    local, remote = (
        write_dataset(path, rows, num_users=40, num_items=60) for path in (tmp_path / "local", "remote://data")
    )
    assert remote.fingerprint == local.fingerprint
    assert np.array_equal(remote.observed().items, local.observed().items)
    block = remote.blocks("test", 0)[0]
    assert remote.read_block(block, ["label"]) == local.read_block(block, ["label"])
