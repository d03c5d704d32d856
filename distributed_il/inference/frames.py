"""Tables of other libraries: pandas, Polars and Arrow in, Arrow or pandas out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pyarrow as pa

from distributed_il.core.errors import UserError


def to_arrow(frame: Any, columns: Sequence[str] | None = None) -> pa.Table:
    """Returns columns of a table as Arrow; NaN of pandas is null.

    Args:
        frame: A pandas or Polars DataFrame, an Arrow table, or a mapping from names to columns.
        columns: Which; None for all.

    Raises:
        UserError: It is no table, a column is missing, or one has no type that Arrow knows.
    """
    try:
        table = _table(frame)
    except (pa.ArrowInvalid, pa.ArrowTypeError, pa.ArrowNotImplementedError) as error:
        raise UserError(f"the table can't be read as Arrow: {error}; give each column values of one type") from error
    missing = [name for name in columns or () if name not in table.column_names]
    if missing:
        raise UserError(
            f"the table has no column {missing[0]!r}; it has {', '.join(table.column_names) or 'none'}; rename it, or "
            "name yours"
        )
    return table.select(list(columns)) if columns is not None else table


def like(frame: Any, table: pa.Table) -> Any:
    """Returns a table as pandas where `frame` is of pandas, else as Arrow."""
    return table.to_pandas() if _is_pandas(frame) else table


def _table(frame: Any) -> pa.Table:
    if isinstance(frame, pa.Table):
        return frame
    if _is_pandas(frame):
        return pa.Table.from_pandas(frame, preserve_index=False).replace_schema_metadata(None)
    if isinstance(frame, Mapping):
        return pa.table(dict(frame))
    if hasattr(frame, "__arrow_c_stream__"):  # Polars, and whoever else speaks Arrow's interface
        return pa.table(frame)
    raise UserError(f"{type(frame).__name__} is no table; give a pandas or Polars DataFrame, or an Arrow table")


def _is_pandas(frame: Any) -> bool:
    return type(frame).__module__.partition(".")[0] == "pandas"
