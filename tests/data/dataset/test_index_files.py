"""Pair indexes on disk: mapped without reading, in order, and refused when damaged."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow.fs as pafs
import pytest
from numpy.typing import NDArray

from distributed_il.core.errors import UserError
from distributed_il.core.files import sha256_of
from distributed_il.data.dataset.index_files import (
    indptr_name,
    items_name,
    read_array,
    read_index,
    write_array,
    write_index,
)

LOCAL = pafs.LocalFileSystem()


def chunk(*pairs: tuple[int, int]) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
    columns = np.array(pairs, dtype=np.int32).reshape(-1, 2)
    return columns[:, 0], columns[:, 1]


def hashes(directory: Path) -> dict[str, str]:
    """Of all files there, as they are now."""
    return {path.name: sha256_of(LOCAL, str(path)) for path in directory.iterdir() if path.is_file()}


def test_chunks_become_one_index(tmp_path: Path) -> None:
    # User 1 goes on in the second chunk; users 0 and 4 have no items.
    chunks = [chunk((1, 2), (1, 5)), chunk(), chunk((1, 7), (2, 0)), chunk((3, 1))]
    files = write_index(LOCAL, str(tmp_path), "observed", chunks, 5, tmp_path)
    index = read_index(LOCAL, str(tmp_path), "observed", hashes(tmp_path))
    assert index.indptr.tolist() == [0, 0, 3, 4, 5, 5]
    assert index.items.tolist() == [2, 5, 7, 0, 1]
    assert index.items.dtype == np.int32
    assert [(file.path, file.rows) for file in files] == [("observed_indptr.arrow", 6), ("observed_items.arrow", 5)]
    assert [file.bytes for file in files] == [(tmp_path / file.path).stat().st_size for file in files]
    assert sorted(path.name for path in tmp_path.iterdir()) == [file.path for file in files]


def test_it_is_mapped_read_only(tmp_path: Path) -> None:
    write_index(LOCAL, str(tmp_path), "logged", [chunk((0, 1))], 1, tmp_path)
    index = read_index(LOCAL, str(tmp_path), "logged", hashes(tmp_path))
    assert not index.items.flags.writeable
    assert not index.items.flags.owndata


def test_an_index_may_be_empty(tmp_path: Path) -> None:
    write_index(LOCAL, str(tmp_path), "observed", [], 3, tmp_path)
    index = read_index(LOCAL, str(tmp_path), "observed", hashes(tmp_path))
    assert index.indptr.tolist() == [0, 0, 0, 0]
    assert index.items.size == 0


@pytest.mark.parametrize(
    "chunks",
    [
        [chunk((1, 2), (1, 2))],
        [chunk((1, 2), (1, 1))],
        [chunk((1, 2)), chunk((1, 2))],
        [chunk((2, 0)), chunk((1, 5))],
    ],
)
def test_pairs_out_of_order_are_refused(
    chunks: list[tuple[NDArray[np.int32], NDArray[np.int32]]], tmp_path: Path
) -> None:
    with pytest.raises(ValueError, match="ascend"):
        write_index(LOCAL, str(tmp_path), "observed", chunks, 5, tmp_path)


def test_elsewhere_a_local_copy_is_mapped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "remote").mkdir()
    (tmp_path / "copies").mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "copies"))
    remote = pafs.SubTreeFileSystem(str(tmp_path / "remote"), LOCAL)
    remote.create_dir("data")
    write_index(remote, "data", "observed", [chunk((0, 3), (1, 2))], 2, tmp_path)
    index = read_index(remote, "data", "observed", hashes(tmp_path / "remote" / "data"))
    assert index.items.tolist() == [3, 2]
    with pytest.raises(UserError, match=r"observed_i.*\.arrow is not what was written"):
        read_index(remote, "data", "observed", dict.fromkeys(hashes(tmp_path / "remote" / "data"), "0" * 64))
    assert list((tmp_path / "copies").iterdir()) == []


def test_damaged_files_are_refused(tmp_path: Path) -> None:
    write_index(LOCAL, str(tmp_path), "observed", [chunk((0, 3), (1, 2))], 2, tmp_path)
    items, indptr = tmp_path / items_name("observed"), tmp_path / indptr_name("observed")
    whole = items.read_bytes()
    items.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(UserError, match=r"observed_items\.arrow can't be read as an Arrow file"):
        read_index(LOCAL, str(tmp_path), "observed", hashes(tmp_path))
    items.write_bytes(indptr.read_bytes())
    with pytest.raises(UserError, match="do not fit together"):
        read_index(LOCAL, str(tmp_path), "observed", hashes(tmp_path))


def test_an_array_that_claims_more_than_its_file_holds_is_refused(tmp_path: Path) -> None:
    write_array(LOCAL, str(tmp_path), "a.arrow", "a", np.arange(1000))
    content = (tmp_path / "a.arrow").read_bytes()
    assert content.count((1000).to_bytes(8, "little")) > 1  # lengths of batch and column, and a value
    forged = content.replace((1000).to_bytes(8, "little"), (10**12).to_bytes(8, "little"))
    (tmp_path / "a.arrow").write_bytes(forged)
    with pytest.raises(UserError, match=r"a\.arrow can't be read as an Arrow file"):
        read_array(LOCAL, str(tmp_path / "a.arrow"), hashes(tmp_path)["a.arrow"])
