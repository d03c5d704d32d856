"""Numbers external ids as they appear, and sorts the numbering once all are known."""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np
import pyarrow as pa
import pyarrow.compute
from numpy.typing import NDArray

from distributed_il.errors import UserError

# Its functions are made when it is imported, so that no type checker sees them.
pc: Any = pyarrow.compute

_TABLE_IDS = 1 << 24
"""Integer ids below this are looked up in a table, 64 MiB at the most, which takes a tenth of the time of hashing."""


class _Lookup(Protocol):
    """Finds the numbers of ids."""

    def find(self, ids: pa.Array, first: int) -> tuple[NDArray[np.int32], pa.Array]:
        """Numbers of ids; those never met get `first`, `first` + 1, … and are returned in that order."""
        ...


class _Table:
    """For small integers."""

    def __init__(self) -> None:
        self._numbers = np.zeros(0, dtype=np.int32)

    def find(self, ids: pa.Array, first: int) -> tuple[NDArray[np.int32], pa.Array]:
        places = ids.to_numpy()
        size = int(places.max(initial=-1)) + 1
        if size > self._numbers.size:
            size = min(2 * size, _TABLE_IDS)
            self._numbers = np.pad(self._numbers, (0, size - self._numbers.size), constant_values=-1)
        numbers = self._numbers[places]
        new = np.unique(places[numbers < 0])
        if new.size:
            self._numbers[new] = np.arange(first, first + new.size)
            numbers = self._numbers[places]
        return numbers, pa.array(new)


class _Hash:
    """For strings and large integers."""

    def __init__(self, kind: pa.DataType) -> None:
        self._known = pa.array([], kind)
        self._numbers = np.zeros(0, dtype=np.int32)

    def find(self, ids: pa.Array, first: int) -> tuple[NDArray[np.int32], pa.Array]:
        encoded = pc.dictionary_encode(ids)
        # Hashing the known ids takes time with every call, so calls should bring many ids.
        places = pc.index_in(encoded.dictionary, self._known)
        new = encoded.dictionary.filter(pc.is_null(places))
        place_of = pc.fill_null(places, -1).to_numpy().astype(np.int64)
        place_of[place_of < 0] = np.arange(len(self._known), len(self._known) + len(new))
        if len(new):
            self._known = pa.concat_arrays([self._known, new])
            self._numbers = np.append(self._numbers, np.arange(first, first + len(new), dtype=np.int32))
        return self._numbers[place_of][encoded.indices.to_numpy()], new


class IdEncoder:
    """The vocabulary of users or of items; it is held in memory, the rows are not."""

    def __init__(self, entity: str) -> None:
        """Starts empty; `entity` is for messages."""
        self._entity = entity
        self._kind: pa.DataType | None = None
        self._table, self._hash = _Table(), _Hash(pa.int64())
        self._new: list[pa.Array] = []
        self._rows = np.zeros(0, dtype=np.int64)
        self._count = 0

    def encode(self, ids: pa.Array) -> NDArray[np.int32]:
        """Numbers ids, an id as before if it was met before.

        Args:
            ids: int64 from 0 up, or string, the same at each call, without nulls.

        Returns:
            int32 [n], provisional: `sorted` gives the dense ids.

        Raises:
            UserError: Integers and strings are mixed.
        """
        if self._kind is None:
            self._kind, self._hash = ids.type, _Hash(ids.type)
        if self._kind != ids.type:
            raise UserError(
                f"{self._entity} ids are {self._kind} in one file and {ids.type} in another; "
                "set id_type to string, or make them alike"
            )
        numbers = self._find_integers(ids) if ids.type == pa.int64() else self._find(self._hash, ids)
        rows = np.bincount(numbers, minlength=self._count)
        rows[: self._rows.size] += self._rows
        self._rows = rows
        return numbers

    def _find_integers(self, ids: pa.Array) -> NDArray[np.int32]:
        small = ids.to_numpy() < _TABLE_IDS
        if small.all():
            return self._find(self._table, ids)
        numbers = np.empty(len(ids), dtype=np.int32)
        numbers[small] = self._find(self._table, ids.filter(pa.array(small)))
        numbers[~small] = self._find(self._hash, ids.filter(pa.array(~small)))
        return numbers

    def _find(self, lookup: _Lookup, ids: pa.Array) -> NDArray[np.int32]:
        numbers, new = lookup.find(ids, self._count)
        self._count += len(new)
        self._new.append(new)
        return numbers

    def sorted(self) -> tuple[pa.Array, NDArray[np.int32], NDArray[np.int64]]:
        """The final numbering.

        Returns:
            External ids ascending, place k being dense id k; int32 dense id of each provisional number; int64 rows of
            each dense id.
        """
        known = pa.concat_arrays(self._new)
        order = pc.sort_indices(known).to_numpy().astype(np.int64)
        ranks = np.empty(order.size, dtype=np.int32)
        ranks[order] = np.arange(order.size, dtype=np.int32)
        return known.take(pa.array(order)), ranks, self._rows[order]
