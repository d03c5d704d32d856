"""Keeps any number of records in an unnamed local file, mapped instead of held in memory."""

from __future__ import annotations

import mmap
import os
import tempfile
import weakref
from typing import Any

import numpy as np
from numpy.typing import NDArray

from distributed_il.core.errors import UserError


class RecordFile:
    """A file of packed records that vanishes with the process; the system may drop its pages and read them again.

    Attributes:
        dtype: Of the records.
        size: Records up to the last one written.
    """

    def __init__(self, dtype: np.dtype[Any], what: str) -> None:
        """Makes an empty file; a message about a full disk says `what` the records are."""
        self.dtype, self.size = dtype, 0
        self._what = what
        self._file, path = tempfile.mkstemp(prefix="distributed-il-")
        os.unlink(path)
        weakref.finalize(self, os.close, self._file)
        self._mapped: NDArray[Any] | None = None

    def append(self, records: NDArray[Any]) -> None:
        """Writes records after the last one; see `write`."""
        self.write(self.size, records)

    def write(self, place: int, records: NDArray[Any]) -> None:
        """Writes records [n] from a place on, the number of the first one; arrays read before stay valid.

        Raises:
            UserError: The disk is full.
        """
        start, left = place * self.dtype.itemsize, memoryview(records.tobytes())
        try:
            while left:
                written = os.pwrite(self._file, left, start)
                start, left = start + written, left[written:]
        except OSError as error:
            raise UserError(
                f"{tempfile.gettempdir()}: {self._what} can't be written, {records.nbytes:,} bytes at {start:,} "
                f"({error.strerror}); make room there, or let TMPDIR name another directory"
            ) from error
        self.size = max(self.size, place + len(records))

    def records(self) -> NDArray[Any]:
        """Maps all records: read-only [size]."""
        if self._mapped is None or self._mapped.size != self.size:
            # An empty file can't be mapped.
            content = mmap.mmap(self._file, 0, access=mmap.ACCESS_READ) if self.size else b""
            self._mapped = np.frombuffer(content, self.dtype)
        return self._mapped
