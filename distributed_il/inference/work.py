"""What a job of results is made of: parts that can be made one by one, anywhere, in any order."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Protocol

import pyarrow as pa

CountedTable = tuple[pa.Table, Mapping[str, int]]
"""Rows of a result, and how many of them were answered by whom."""


class Work(Protocol):
    """A result in parts. It is sent to the processes that make them, its arrays shared by those of one machine."""

    @property
    def schema(self) -> pa.Schema:
        """Of the result."""
        ...

    @property
    def rows(self) -> Sequence[int]:
        """Rows of each part that are worked on, for progress; 0 where unknown."""
        ...

    @property
    def nbytes(self) -> int:
        """Bytes of the arrays that are shared."""
        ...

    @property
    def made_from(self) -> Mapping[str, Any]:
        """Everything that decides the result, as plain values."""
        ...

    def tables(self, part: int) -> Iterator[CountedTable]:
        """Makes a part, some rows at a time.

        Raises:
            UserError: Its input is damaged, or holds what can't be read.
        """
        ...
