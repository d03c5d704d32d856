"""Side features on disk: mapped, of the smallest type, and refused when damaged."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.fs as pafs
import pytest
import torch

from distributed_il.core.errors import UserError
from distributed_il.core.files import sha256_of
from distributed_il.data.dataset.feature_codes import read_codes, read_values, write_features
from distributed_il.data.dataset.manifest import FeatureColumn

LOCAL = pafs.LocalFileSystem()
COLUMNS = (FeatureColumn(name="a", values=2), FeatureColumn(name="b", values=3))
CODES = np.array([[0, 3], [2, 1], [1, 0]])
VALUES = {"a": pa.array(["x", "y"]), "b": pa.array(["y", "é", ""])}


def hashes(directory: Path) -> dict[str, str]:
    """Of all files there, as they are now."""
    return {path.name: sha256_of(LOCAL, str(path)) for path in directory.iterdir()}


def test_they_are_read_back(tmp_path: Path) -> None:
    files = write_features(LOCAL, str(tmp_path), "users", CODES, VALUES)
    assert [(file.path, file.rows) for file in files] == [
        ("users_features.arrow", 6),
        ("users_feature_values.parquet", 5),
    ]
    assert [file.bytes for file in files] == [(tmp_path / file.path).stat().st_size for file in files]
    codes = read_codes(LOCAL, str(tmp_path), "users", 3, COLUMNS, hashes(tmp_path))
    assert codes.tolist() == CODES.tolist()
    assert codes.dtype == np.uint8
    assert read_values(LOCAL, str(tmp_path), "users", COLUMNS, hashes(tmp_path)) == VALUES


def test_without_columns_there_is_no_file(tmp_path: Path) -> None:
    assert read_codes(LOCAL, str(tmp_path), "items", 4, (), hashes(tmp_path)).shape == (4, 0)
    assert read_values(LOCAL, str(tmp_path), "items", (), hashes(tmp_path)) == {}


@pytest.mark.parametrize(("most", "dtype"), [(255, np.uint8), (256, np.int16), (32_768, np.int32)])
def test_codes_take_as_few_bytes_as_their_values_allow(most: int, dtype: type[np.integer[Any]], tmp_path: Path) -> None:
    values = {"a": pa.array([str(number) for number in range(most)])}
    write_features(LOCAL, str(tmp_path), "items", np.array([[most], [0]]), values)
    codes = read_codes(LOCAL, str(tmp_path), "items", 2, (FeatureColumn(name="a", values=most),), hashes(tmp_path))
    assert codes.dtype == dtype
    assert codes.tolist() == [[most], [0]]
    assert torch.from_numpy(codes.copy()).index_select(0, torch.tensor([1, 0])).tolist() == [[0], [most]]


def test_what_is_damaged_is_refused(tmp_path: Path) -> None:
    write_features(LOCAL, str(tmp_path), "users", CODES, VALUES)
    few = (COLUMNS[0], FeatureColumn(name="b", values=2))
    with pytest.raises(UserError, match="it holds codes of values that are not there"):
        read_codes(LOCAL, str(tmp_path), "users", 3, few, hashes(tmp_path))
    with pytest.raises(UserError, match="holds 6 codes instead of 4 × 2"):
        read_codes(LOCAL, str(tmp_path), "users", 4, COLUMNS, hashes(tmp_path))
    with pytest.raises(UserError, match="does not hold the values that the manifest counts"):
        read_values(LOCAL, str(tmp_path), "users", few, hashes(tmp_path))
    for name in ("users_features.arrow", "users_feature_values.parquet"):
        (tmp_path / name).write_bytes(b"x" * 50)
    with pytest.raises(UserError, match="can't be read as an Arrow file"):
        read_codes(LOCAL, str(tmp_path), "users", 3, COLUMNS, hashes(tmp_path))
    with pytest.raises(UserError, match="can't be read as Parquet"):
        read_values(LOCAL, str(tmp_path), "users", COLUMNS, hashes(tmp_path))


def test_several_values_of_a_column_ascend(tmp_path: Path) -> None:
    columns = (FeatureColumn(name="a", values=2), FeatureColumn(name="b", values=3, width=3))
    for whole in ([[1, 1, 3, 0]], [[2, 0, 0, 0]]):
        write_features(LOCAL, str(tmp_path), "users", np.array(whole), VALUES)
        assert read_codes(LOCAL, str(tmp_path), "users", 1, columns, hashes(tmp_path)).tolist() == whole
    for damaged in ([[1, 3, 1, 0]], [[1, 2, 2, 0]], [[1, 0, 2, 0]]):
        write_features(LOCAL, str(tmp_path), "users", np.array(damaged), VALUES)
        with pytest.raises(UserError, match="codes of a column do not ascend"):
            read_codes(LOCAL, str(tmp_path), "users", 1, columns, hashes(tmp_path))
