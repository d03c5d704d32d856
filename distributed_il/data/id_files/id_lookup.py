"""Maps external ids to rows of a table, and back."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from distributed_il.core.arrow_compute import pc
from distributed_il.data.prepare.sources.column_types import BadValueError, is_text
from distributed_il.data.prepare.sources.ids import plain_integers


class IdLookup:
    """The external ids of one entity; its arrays may be read-only and shared between processes."""

    def __init__(self, entity: str, ids: pa.Array) -> None:
        """Takes distinct ids, int64 or string; place k is dense id k. `entity` is `user` or `item`, for messages."""
        self.entity, self.ids = entity, ids
        self._order: NDArray[np.int64] | None = None
        if pa.types.is_integer(ids.type):
            values = ids.to_numpy()
            # Ids ascend as they are prepared, so that most often no order has to be kept.
            if np.any(values[1:] <= values[:-1]):
                self._order = np.argsort(values)

    @property
    def nbytes(self) -> int:
        """Returns the bytes of its arrays."""
        return self.ids.nbytes + (0 if self._order is None else self._order.nbytes)

    def rows(self, given: pa.Array) -> NDArray[np.int64]:
        """Returns dense ids, int64 [n], of external ones of its type, without nulls; −1 where there is none."""
        if not pa.types.is_integer(self.ids.type):
            return pc.fill_null(pc.index_in(given, value_set=self.ids), -1).to_numpy().astype(np.int64)
        values, wanted = self.ids.to_numpy(), given.to_numpy()
        places = np.searchsorted(values, wanted, sorter=self._order)
        places[places == values.size] = 0
        rows = places if self._order is None else self._order[places]
        return np.where(values[rows] == wanted, rows, -1)

    def external(self, rows: NDArray[Any]) -> pa.Array:
        """Returns external ids of dense ones."""
        return self.ids.take(pa.array(rows))

    def read(self, column: pa.Array) -> pa.Array:
        """Casts a raw column to the type of the ids; text that is written as whole numbers are will do for them.

        Raises:
            BadValueError: A value is missing, or can't be an id of this dataset.
        """
        kind = self.ids.type
        if pa.types.is_dictionary(column.type):
            column = column.dictionary_decode()
        try:
            ids = _cast(column, kind)
            if not ids.null_count and not (pa.types.is_string(kind) and pc.any(pc.equal(ids, "")).as_py()):
                return ids
        except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
            pass
        row = next(row for row, value in enumerate(column) if not _fits(value, kind))
        value = column[row].as_py()
        what = "whole numbers" if pa.types.is_integer(kind) else "text"
        problem = f"{value!r} is no {self.entity} id: those of this dataset are {what}; correct or remove the row"
        raise BadValueError(row, value, problem)


def _cast(column: pa.Array, kind: pa.DataType) -> pa.Array:
    """Raises `pa.ArrowInvalid` where text is not written as the integer that it would become, such as 007."""
    if not pa.types.is_integer(kind) or not is_text(column.type):
        return column.cast(kind)
    numbers = plain_integers(column)
    if numbers is None:
        raise pa.ArrowInvalid
    return numbers


def _fits(value: Any, kind: pa.DataType) -> bool:
    try:
        return _cast(pa.array([value.as_py()], value.type), kind)[0].as_py() not in (None, "")
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
        return False
