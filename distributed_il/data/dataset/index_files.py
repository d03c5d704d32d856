"""Writes and maps pair indexes: one uncompressed Arrow IPC file for each array."""

from __future__ import annotations

import hashlib
import os
import tempfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.fs as pafs
from numpy.typing import NDArray

from distributed_il.core.errors import UserError
from distributed_il.core.files import HashingSink, is_local
from distributed_il.core.plain_arrow import open_arrow_file
from distributed_il.core.verified_files import require_hash, require_whole
from distributed_il.data.dataset.manifest import TableFile
from distributed_il.data.sampling import PairIndex

_CHUNK_BYTES = 4 << 20


def indptr_name(index: str) -> str:
    """Names the file of an index's `indptr`."""
    return f"{index}_indptr.arrow"


def items_name(index: str) -> str:
    """Names the file of an index's `items`."""
    return f"{index}_items.arrow"


def write_index(
    fs: pafs.FileSystem,
    root: str,
    index: str,
    pairs: Iterable[tuple[NDArray[Any], NDArray[Any]]],
    num_users: int,
    scratch: Path,
) -> list[TableFile]:
    """Writes a pair index from pairs that come in order, as two files.

    The items pass through a raw file in `scratch`, because an Arrow array has to be there as a whole before it is
    written: mapped from a file it takes no memory.

    Args:
        fs: Where to write.
        root: Directory on `fs`.
        index: `observed` or `logged`.
        pairs: Chunks of (user_ids, item_ids), integers [n], ascending by (user, item) over all chunks, no pair twice.
        num_users: Users in all.
        scratch: Local directory for the raw file.

    Raises:
        ValueError: The pairs are not strictly ascending, or a user id is out of range.
    """
    counts = np.zeros(num_users, dtype=np.int64)
    raw = scratch / f"{index}.raw"
    last = -1
    with raw.open("wb") as file:
        for user_ids, item_ids in pairs:
            if user_ids.size == 0:
                continue
            keys = (user_ids.astype(np.int64) << 32) | item_ids.astype(np.int64)
            if keys[0] <= last or np.any(keys[1:] <= keys[:-1]):
                raise ValueError(f"pairs of the {index} index must ascend strictly by (user, item)")
            last = int(keys[-1])
            counts += np.bincount(user_ids, minlength=num_users)
            file.write(np.ascontiguousarray(item_ids, dtype=np.int32).data)
    indptr = np.zeros(num_users + 1, dtype=np.int64)
    np.cumsum(counts, out=indptr[1:])
    items = np.memmap(raw, dtype=np.int32, mode="r") if raw.stat().st_size else np.zeros(0, dtype=np.int32)
    files = [
        write_array(fs, root, indptr_name(index), "indptr", indptr),
        write_array(fs, root, items_name(index), "items", items),
    ]
    del items
    raw.unlink()
    return files


def write_array(fs: pafs.FileSystem, root: str, name: str, column: str, values: NDArray[Any]) -> TableFile:
    """Writes an array [n] as a file of one column."""
    batch = pa.record_batch([pa.array(values)], names=[column])
    sink = HashingSink(fs, f"{root}/{name}")
    with sink, pa.ipc.new_file(pa.PythonFile(sink, mode="w"), batch.schema) as writer:
        writer.write_batch(batch)
    return TableFile(path=name, rows=int(values.size), bytes=sink.bytes, sha256=sink.sha256)


def read_index(fs: pafs.FileSystem, root: str, index: str, hashes: Mapping[str, str]) -> PairIndex:
    """Opens a pair index, `observed` or `logged`.

    Its arrays are read-only maps of the files, or of local copies that vanish with them.

    Args:
        fs: Where it lies.
        root: Directory on `fs`.
        index: Its name.
        hashes: SHA-256 of each file, by its name.

    Raises:
        UserError: A file is not what the preparation wrote.
    """
    names = (indptr_name(index), items_name(index))
    indptr, items = (read_array(fs, f"{root}/{name}", hashes[name]) for name in names)
    try:
        return PairIndex(indptr=indptr, items=items)
    except ValueError as error:
        raise UserError(f"{root}/{index}_*.arrow do not fit together ({error}); prepare the dataset again") from error


def read_array(fs: pafs.FileSystem, path: str, sha256: str, cure: str = "prepare the dataset again") -> NDArray[Any]:
    """Verifies an array and maps it, read-only: its file, or a local copy that vanishes with the map.

    Raises:
        UserError: The file is not what the preparation wrote; `cure` says what to do about that.
    """
    try:
        if is_local(fs):
            require_whole(fs, path, sha256, cure)
            source = pa.memory_map(path)
        else:
            source = _map_copy(fs, path, sha256, cure)
        values = open_arrow_file(source, path, cure).get_batch(0).column(0)
        values.validate()  # as long as it says: beyond its buffer lies other memory
        return values.to_numpy(zero_copy_only=True)
    except (pa.ArrowException, OSError, IndexError) as error:
        raise UserError(f"{path} can't be read as an Arrow file ({error}); {cure}") from error


def _map_copy(fs: pafs.FileSystem, path: str, sha256: str, cure: str) -> pa.MemoryMappedFile:
    handle, copy = tempfile.mkstemp(prefix="distributed-il-index-")
    digest = hashlib.sha256()
    try:
        with os.fdopen(handle, "wb") as target, fs.open_input_stream(path, compression=None) as stream:
            while chunk := stream.read(_CHUNK_BYTES):
                digest.update(chunk)
                target.write(chunk)
        require_hash(path, digest.hexdigest(), sha256, cure)
        return pa.memory_map(copy)
    finally:
        # The map keeps the file's content until it is dropped itself.
        os.unlink(copy)
