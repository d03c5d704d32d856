"""Which rows of an embedding table a file of a checkpoint holds."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from distributed_il.core.documents import Count, Size

TableName = Literal["users", "items"]


@dataclass(frozen=True, kw_only=True, slots=True)
class TablePart:
    """A file of packed rows [w|m|v] and their `last_step`."""

    file: str  # its name, without the ending
    table: TableName
    first: Count  # number of the first row in the whole table
    stride: Size  # distance of the rows' numbers
    rows: Size
    bytes: Count
    sha256: str = ""  # of the file; empty where an earlier version wrote it

    @property
    def numbers(self) -> range:
        """Numbers of the rows in the whole table."""
        return range(self.first, self.first + self.rows * self.stride, self.stride)
