"""Reads a file of Parquet in pieces."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager

import numpy as np

from distributed_il.core.plain_arrow import PlainParquet, open_parquet
from distributed_il.data.prepare.sources.pieces import Part, Piece, RawPieces, SetAside, group_rows

_PIECE_ROWS = 1 << 20
_PART_BATCH_ROWS = 1 << 16
"""Rows of a part that are read at a time: many processes of one machine read parts side by side."""


class ParquetPieces(RawPieces):
    """One file of Parquet."""

    typed = True

    def columns(self) -> list[str]:
        with self._open() as opened:
            return opened.names

    def require_plain(self, columns: Sequence[str]) -> None:
        with self._open() as opened:
            opened.require_plain(columns)

    def num_rows(self) -> int:
        with self._open() as opened:
            return opened.metadata.num_rows

    def parts(self, rows: int, size: int) -> list[Part]:
        with self._open() as opened:
            groups_there = range(opened.metadata.num_row_groups)
            sizes = [opened.metadata.row_group(group).num_rows for group in groups_there]
        return [
            Part(groups.start, groups.stop, sum(sizes[: groups.start]), sum(sizes[groups.start : groups.stop]))
            for groups in group_rows(sizes, rows)
        ]

    def read(self, columns: list[str], set_aside: SetAside | None = None, part: Part | None = None) -> Iterator[Piece]:
        groups = None if part is None else list(range(part.start, part.stop))
        size, threads = (_PIECE_ROWS, True) if part is None else (_PART_BATCH_ROWS, False)
        done = 0
        with self._open() as opened:
            for batch in opened.batches(columns, size, row_groups=groups, threads=threads):
                yield Piece(batch, np.arange(done, done + batch.num_rows))
                done += batch.num_rows

    def lines(self, rows: Sequence[int], start: int = 0) -> list[int]:
        return [row + 1 for row in rows]

    def place(self, row: int, part: Part | None = None) -> str:
        return f"{self._file.name}, row {row + 1 + (part.first_row if part else 0)}"

    def _open(self) -> AbstractContextManager[PlainParquet]:
        cure = "it is another kind of file, damaged or cut off: copy it anew, or give its format"
        return open_parquet(self._fs, self._file.path, cure, name=self._file.name)
