"""Takes the fields of side features apart where they hold several values, and lays the values of each row out."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from distributed_il.core.arrow_compute import pc
from distributed_il.data.prepare.sources.column_types import BadValueError, read_categories

NONE = -1
"""Place of a value that was not given."""


def read_values(column: pa.Array, separator: str | None) -> tuple[pa.Array, NDArray[np.int64]]:
    """Reads the categorical values of some rows: those of a list, those that a separator parts, or one each.

    Returns:
        The values of all rows, one after another, strings without nulls, and how many each row has, int64 [n].

    Raises:
        BadValueError: As `read_categories`.
    """
    kind = column.type
    if pa.types.is_list(kind) or pa.types.is_large_list(kind):
        counts = pc.fill_null(pc.list_value_length(column), 0).to_numpy()
        owners = np.repeat(np.arange(len(column)), counts)
        try:
            texts = read_categories(column.flatten())
        except BadValueError as error:
            raise BadValueError(int(owners[error.row]) if owners.size else 0, error.value, error.problem) from error
    else:
        texts, owners = read_categories(column), np.arange(len(column))
        if separator is not None:
            parts = pc.split_pattern(texts, separator)
            owners = np.repeat(owners, pc.fill_null(pc.list_value_length(parts), 0).to_numpy())
            texts = pc.utf8_trim_whitespace(parts.flatten())
    given = pc.fill_null(pc.not_equal(texts, ""), False)
    owners = owners[given.to_numpy(zero_copy_only=False)]
    return texts.filter(given), np.bincount(owners, minlength=len(column))


def lay_out(places: NDArray[np.int64], counts: NDArray[np.int64]) -> NDArray[np.int32]:
    """Lays values out in rows, each value of a row once, ascending, and `NONE` behind them.

    Args:
        places: Values of all rows, by their places in a list, int64.
        counts: How many of them each row has, int64 [n].

    Returns:
        int32 [n, most distinct values of a row, but at least one].
    """
    above = int(places.max(initial=0)) + 1
    owners, values = np.divmod(np.unique(np.repeat(np.arange(counts.size), counts) * above + places), above)
    distinct = np.bincount(owners, minlength=counts.size)
    rows = np.full((counts.size, max(int(distinct.max(initial=0)), 1)), NONE, np.int32)
    rows[owners, np.arange(owners.size) - (np.cumsum(distinct) - distinct)[owners]] = values
    return rows
