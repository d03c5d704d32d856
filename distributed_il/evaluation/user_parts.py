"""Rows of a rank's users, some users at a time: as many parts as it takes for each to be small."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, overload

import numpy as np
from numpy.typing import NDArray

from distributed_il.core.record_file import RecordFile


class UserParts(Sequence[NDArray[Any]]):
    """Records with a `user_id`, in a local file; user u lies in part (u // world_size) mod parts with all its rows."""

    def __init__(self, parts: int, world_size: int) -> None:
        """Has no rows yet.

        Args:
            parts: How many, from 1 to 2**16.
            world_size: Ranks that the users are dealt to.
        """
        self._parts, self._world_size = parts, world_size
        self._file: RecordFile | None = None
        self._bounds: list[NDArray[np.int64]] = []

    def add(self, records: NDArray[Any]) -> None:
        """Puts rows with those of their users.

        Args:
            records: Structured array [n], of the same dtype in every call.

        Raises:
            UserError: The disk is full.
        """
        if self._file is None:
            self._file = RecordFile(records.dtype, "the scored rows of a split")
        # 16 bits, because numpy sorts these by radix.
        part = (records["user_id"] // self._world_size % self._parts).astype(np.uint16)
        counts = np.bincount(part, minlength=self._parts)
        start = self._file.size
        self._file.append(records[np.argsort(part, kind="stable")])
        self._bounds.append(start + np.append(0, np.cumsum(counts)))

    def __len__(self) -> int:
        """How many parts."""
        return self._parts

    @overload
    def __getitem__(self, index: int) -> NDArray[Any]: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[NDArray[Any]]: ...
    def __getitem__(self, index: int | slice) -> NDArray[Any] | Sequence[NDArray[Any]]:
        """A part's rows, in the order in which they were added."""
        if isinstance(index, slice):
            return [self[part] for part in range(self._parts)[index]]
        part = range(self._parts)[index]
        if self._file is None:
            raise ValueError("no rows were added")
        return np.concatenate([*self._slices(self._file.records(), part)])

    def _slices(self, records: NDArray[Any], part: int) -> Iterator[NDArray[Any]]:
        for bounds in self._bounds:
            yield records[bounds[part] : bounds[part + 1]]
