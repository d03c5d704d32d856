"""What may stand in the files of a dataset: ids of its vocabularies, labels of 0 and 1, numbers without gaps."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from distributed_il.core.arrow_compute import pc
from distributed_il.core.errors import UserError
from distributed_il.data.dataset.manifest import WEIGHT
from distributed_il.data.sampling import PairIndex

_DUE = {"user_id": pa.int32(), "item_id": pa.int32(), "label": pa.int8(), WEIGHT: pa.float32()}
"""Types of columns of rows; others are of numbers."""


def check_rows(table: pa.Table, sizes: tuple[int, int], place: str, cure: str) -> None:
    """Refuses rows of a split that no dataset of these sizes holds.

    Args:
        table: Some columns of a row group, each of one chunk.
        sizes: Users and items.
        place: File and row group, for the message.
        cure: What to do, for the message.

    Raises:
        UserError: A column has another type or a gap, an id is not below its size, or a label is neither 0 nor 1.
    """
    limits = {"user_id": sizes[0], "item_id": sizes[1], "label": 2}
    for name, column in zip(table.column_names, table.columns, strict=True):
        kind = column.type
        if kind != _DUE.get(name, kind) or not (pa.types.is_integer(kind) or pa.types.is_floating(kind)):
            raise UserError(
                f"{place}, column {name}: it is of type {kind} instead of {_DUE.get(name, 'numbers')}; {cure}"
            )
        _require_whole(column, f"{place}, column {name}", cure)
        if name == WEIGHT and column.num_chunks:
            require_weights(column.chunk(0).to_numpy(), f"{place}, column {name}", cure)
        if name in limits and column.num_chunks:
            _require_below(column.chunk(0).to_numpy(), limits[name], place, name, cure)


def require_weights(values: NDArray[Any], place: str, cure: str) -> None:
    """Raises `UserError` unless each row's weight is a finite number above 0."""
    wrong = ~((values > 0) & np.isfinite(values))
    if wrong.any():
        row = int(wrong.argmax())
        raise UserError(f"{place}, row {row + 1}: {values[row]} is no finite weight above 0; {cure}")


def check_pairs(index: PairIndex, sizes: tuple[int, int], place: str, cure: str) -> None:
    """Raises `UserError` unless a pair index is of so many users, and its items are below the number of items."""
    if index.num_users != sizes[0]:
        raise UserError(f"{place} is of {index.num_users:,} users, and the manifest counts {sizes[0]:,}; {cure}")
    falling = index.indptr[1:] < index.indptr[:-1]
    if falling.any():
        raise UserError(f"{place}: the pairs of user {int(falling.argmax())} end before they begin; {cure}")
    _require_below(index.items, sizes[1], place, "items", cure)


def check_activity(table: pa.Table, ids: int, place: str, cure: str) -> None:
    """Raises `UserError` unless a vocabulary's columns hold a count for each id, none below 0."""
    for name, column in zip(table.column_names, table.columns, strict=True):
        if not pa.types.is_integer(column.type):
            raise UserError(f"{place}, column {name}: it is of type {column.type} instead of whole numbers; {cure}")
        _require_whole(column, f"{place}, column {name}", cure)
        _require_length(len(column), ids, place, cure)
        below = pc.index(pc.less(column, 0), pa.scalar(True)).as_py()
        if below >= 0:
            raise UserError(f"{place}, row {below + 1}, column {name}: {column[below].as_py()} is below 0; {cure}")


def check_external_ids(column: pa.Array, ids: int, place: str, cure: str) -> None:
    """Raises `UserError` unless a vocabulary holds that many ids, int64 or string, none of them missing."""
    if column.type not in (pa.int64(), pa.string()):
        raise UserError(f"{place}, column external_id: it is of type {column.type} instead of int64 or string; {cure}")
    _require_whole(column, f"{place}, column external_id", cure)
    _require_length(len(column), ids, place, cure)


def _require_whole(column: pa.Array | pa.ChunkedArray, place: str, cure: str) -> None:
    if column.null_count:
        raise UserError(f"{place}: {column.null_count} values are missing; {cure}")


def _require_length(found: int, wanted: int, place: str, cure: str) -> None:
    if found != wanted:
        raise UserError(f"{place} has {found:,} rows, and the manifest counts {wanted:,}; {cure}")


def _require_below(values: NDArray[Any], limit: int, place: str, column: str, cure: str) -> None:
    """Refuses the first value below 0 or not below the limit."""
    # Seen without sign, a number below 0 is among the largest: one look at all of them.
    unsigned = values.view(f"u{values.dtype.itemsize}")
    if unsigned.max(initial=0) < limit:
        return
    row = int(np.flatnonzero(unsigned >= limit)[0])
    allowed = f"from 0 to {limit - 1:,}"
    raise UserError(f"{place}, row {row + 1}, column {column}: {values[row]} is not {allowed}; {cure}")
