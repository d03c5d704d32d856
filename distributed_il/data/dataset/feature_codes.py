"""Writes and reads side features: codes in an Arrow IPC file, which can be mapped, and the values they stand for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.fs as pafs
import pyarrow.parquet as pq
from numpy.typing import NDArray

from distributed_il.core.arrow_compute import pc
from distributed_il.core.errors import UserError
from distributed_il.core.files import HashingSink
from distributed_il.core.plain_arrow import open_parquet
from distributed_il.core.verified_files import require_whole
from distributed_il.data.dataset.index_files import read_array, write_array
from distributed_il.data.dataset.manifest import Entity, FeatureColumn, TableFile

_SCHEMA = pa.schema({"column": pa.string(), "value": pa.string()})
_AGAIN = "prepare the dataset again"


def codes_name(entity: Entity) -> str:
    """Names the file of an entity's codes."""
    return f"{entity}_features.arrow"


def values_name(entity: Entity) -> str:
    """Names the file of the values of an entity's features."""
    return f"{entity}_feature_values.parquet"


def write_features(
    fs: pafs.FileSystem, root: str, entity: Entity, codes: NDArray[Any], values: Mapping[str, pa.Array]
) -> list[TableFile]:
    """Writes the side features of one entity, as two files.

    Args:
        fs: Where to write.
        root: Directory on `fs`.
        entity: Whose.
        codes: Integers [ids, Σ widths]: of each column its width of codes, k for the k-th value of the column, 0 for
            unknown and behind the last one.
        values: The values of each column, strings, in the order of the columns.
    """
    most = max((len(known) for known in values.values()), default=0)
    small = np.ascontiguousarray(codes, dtype=_code_type(most))
    columns = [
        pa.array([name], pa.string()).take(pa.array(np.zeros(len(known), int))) for name, known in values.items()
    ]
    table = pa.table(
        [pa.chunked_array(columns, pa.string()), pa.chunked_array([*values.values()], pa.string())], _SCHEMA
    )
    sink = HashingSink(fs, f"{root}/{values_name(entity)}")
    with sink:
        pq.write_table(table, sink, compression="zstd")
    listed = TableFile(path=values_name(entity), rows=table.num_rows, bytes=sink.bytes, sha256=sink.sha256)
    return [write_array(fs, root, codes_name(entity), "codes", small.reshape(-1)), listed]


def _code_type(most: int) -> type[np.integer[Any]]:
    # Types that torch can index: of the unsigned ones that is only the smallest.
    return np.uint8 if most <= 255 else np.int16 if most <= 32_767 else np.int32


def read_codes(
    fs: pafs.FileSystem,
    root: str,
    entity: Entity,
    ids: int,
    columns: Sequence[FeatureColumn],
    hashes: Mapping[str, str],
) -> NDArray[Any]:
    """Opens the codes of one entity without a copy: integers [ids, Σ widths], a map that must not be written to.

    `hashes` holds the SHA-256 of each file, by its name.

    Raises:
        UserError: The file is not what the preparation wrote.
    """
    if not columns:
        return np.zeros((ids, 0), np.uint8)
    path = f"{root}/{codes_name(entity)}"
    flat = read_array(fs, path, hashes[codes_name(entity)])
    widths = [column.width for column in columns]
    if flat.size != ids * sum(widths):
        raise UserError(f"{path} holds {flat.size} codes instead of {ids} × {sum(widths)}; {_AGAIN}")
    codes = flat.reshape(ids, sum(widths))
    most = np.repeat([column.values for column in columns], widths)
    if ids and (np.any(codes.min(axis=0) < 0) or np.any(codes.max(axis=0) > most)):
        raise UserError(f"{path} is damaged: it holds codes of values that are not there; {_AGAIN}")
    for start, width in zip(np.cumsum(widths) - widths, widths, strict=True):
        before, behind = codes[:, start : start + width - 1], codes[:, start + 1 : start + width]
        if np.any((behind != 0) & (behind <= before) | (before == 0) & (behind != 0)):
            raise UserError(f"{path} is damaged: codes of a column do not ascend; {_AGAIN}")
    return codes


def read_values(
    fs: pafs.FileSystem, root: str, entity: Entity, columns: Sequence[FeatureColumn], hashes: Mapping[str, str]
) -> dict[str, pa.Array]:
    """Reads the values that the codes of one entity stand for: the k-th of a column, from 1, is that of code k.

    `hashes` holds the SHA-256 of each file, by its name.

    Raises:
        UserError: The file is damaged.
    """
    if not columns:
        return {}
    path = f"{root}/{values_name(entity)}"
    require_whole(fs, path, hashes[values_name(entity)], _AGAIN)
    with open_parquet(fs, path, _AGAIN) as file:
        table = file.read(_SCHEMA.names)
    if table.schema.types != _SCHEMA.types:
        raise UserError(f"{path} does not hold two columns of text, {_SCHEMA.names}; {_AGAIN}")
    found = {
        column.name: table.column("value").filter(pc.equal(table.column("column"), column.name)).combine_chunks()
        for column in columns
    }
    if any(len(found[column.name]) != column.values for column in columns):
        raise UserError(f"{path} does not hold the values that the manifest counts; {_AGAIN}")
    return found
