"""Reads one raw file of any format in pieces, and finds the line of a row."""

from __future__ import annotations

import io
import socket
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass

import numpy as np
import pyarrow.fs as pafs

from distributed_il.core.arrow_compute import pc
from distributed_il.core.errors import UserError
from distributed_il.core.plain_arrow import PlainParquet, open_parquet
from distributed_il.data.prepare.sources.delimited import (
    Piece,
    SetAside,
    begins_with_names,
    column_names,
    read_delimited,
)
from distributed_il.data.prepare.sources.files import RawFile
from distributed_il.data.prepare.sources.known_logs import MOVIELENS, compression_of, is_parquet, known_log, text_layout
from distributed_il.data.prepare.sources.text_lines import line_numbers

_PIECE_ROWS = 1 << 20
_PART_BATCH_ROWS = 1 << 16
"""Rows of a part that are read at a time: many processes of one machine read parts side by side."""
_BLANK = ("", " ", "  ")
"""Columns of a MovieLens file that are there because its separator is two characters wide."""


@dataclass(frozen=True, slots=True)
class Part:
    """A part of a raw file that can be read by itself.

    Attributes:
        start: First row group of Parquet, or first byte of the range in which the lines of a text begin.
        stop: Behind the last one.
        first_row: Of Parquet: number of the part's first row in the file, from 0.
        rows: Of Parquet: its rows; of text 0, as it takes reading to know.
    """

    start: int
    stop: int
    first_row: int = 0
    rows: int = 0


def group_rows(sizes: Sequence[int], wanted: int) -> Iterator[range]:
    """Groups blocks of rows, in order; a group has at least `wanted` rows, but for the last one.

    Yields:
        Places of the blocks of a group.
    """
    start, rows = 0, 0
    for stop, size in enumerate(sizes, start=1):
        rows += size
        if rows and (rows >= wanted or stop == len(sizes)):
            yield range(start, stop)
            start, rows = stop, 0


class RawPieces:
    """One raw file, read piece by piece."""

    def __init__(self, fs: pafs.FileSystem, file: RawFile, delimiter: str | None) -> None:
        """Reads nothing yet; `delimiter` is for the fields of a CSV file, None goes by the file's name."""
        self._fs, self._file = fs, file
        log = known_log(file.format)
        parquet = file.format == "parquet" or (file.format != "csv" and log.layout is None and is_parquet(file.name))
        self._layout = None if parquet else text_layout(log, file.name, delimiter)

    @property
    def typed(self) -> bool:
        """Whether the file says of what type a column is."""
        return self._layout is None

    def columns(self) -> list[str]:
        """Reads the names of the columns.

        Raises:
            UserError: The file can't be read.
        """
        if self._layout is None:
            with self._open_parquet() as opened:
                return opened.names
        return column_names(self._fs, self._file.path, self._file.name, self._layout)

    def require_plain(self, columns: Sequence[str]) -> None:
        """Raises `UserError` unless columns of Parquet hold plain values, so that reading them runs nothing."""
        if self._layout is None:
            with self._open_parquet() as opened:
                opened.require_plain(columns)

    def require_here(self) -> None:
        """Raises `UserError` unless this machine sees the file."""
        if self._fs.get_file_info(self._file.path).type == pafs.FileType.NotFound:
            raise UserError(
                f"{self._file.path} does not exist on the node {socket.gethostname()}; give a source that all nodes "
                "see, or set workers to 1"
            )

    def num_rows(self) -> int:
        """Returns the rows of the file; 0 where it takes reading to know."""
        if self._layout is not None:
            return 0
        with self._open_parquet() as opened:
            return opened.metadata.num_rows

    def parts(self, rows: int, size: int) -> list[Part]:
        """Cuts the file into parts; compressed text, and text without line feeds, makes one.

        A part of Parquet has at least `rows` rows, but for the last one; a part of text has `size` bytes.

        Raises:
            UserError: The file can't be read.
        """
        if self._layout is None:
            return self._parquet_parts(rows)
        file_size = self._fs.get_file_info(self._file.path).size
        if self._is_compressed or self._is_one_line(file_size):
            return [Part(0, file_size)]
        return [Part(start, min(start + size, file_size)) for start in range(0, file_size, size)]

    def read(self, columns: list[str], set_aside: SetAside | None = None, part: Part | None = None) -> Iterator[Piece]:
        """Reads some columns of the whole file, or of a part in this thread alone.

        `set_aside` is told of lines that are no rows; without it the first of them is an error.

        Yields:
            Pieces of the file or the part, in order; text fields are strings.

        Raises:
            UserError: The file is damaged, or a line does not fit.
        """
        if self._layout is None:
            return self._read_parquet(columns, part)
        if self._layout == MOVIELENS:
            return self._read_movielens(columns, set_aside)
        within = None if part is None or self._is_compressed else (part.start, part.stop)
        return read_delimited(self._fs, self._file.path, self._file.name, self._layout, columns, set_aside, within)

    def lines(self, rows: Sequence[int], start: int = 0) -> list[int]:
        """Returns lines, from 1, of the rows of those numbers, from 0 and ascending; of Parquet, rows from 1.

        Rows are numbered from the first one whose line begins at the byte `start` or behind it.
        """
        if self._layout is None:
            return [row + 1 for row in rows]
        header = not start and begins_with_names(self._fs, self._file.path, self._layout)
        return line_numbers(self._fs, self._file.path, [row + 1 + header for row in rows], start)

    def place(self, row: int, part: Part | None = None) -> str:
        """Returns file and line of the row of that number, from 0, in the file or in a part of it."""
        if self._layout is None:
            return f"{self._file.name}, row {row + 1 + (part.first_row if part else 0)}"
        return f"{self._file.name}, line {self.lines([row], part.start if part else 0)[0]}"

    def _read_movielens(self, columns: list[str], set_aside: SetAside | None) -> Iterator[Piece]:
        file = self._file
        for piece in read_delimited(self._fs, file.path, file.name, MOVIELENS, [*columns, *_BLANK], set_aside):
            good = np.ones(piece.num_rows, dtype=np.bool_)
            for blank in _BLANK:
                good &= pc.equal(piece.batch.column(blank), "").to_numpy(zero_copy_only=False)
            problem = "is not User::Movie::Rating::Timestamp"
            for row in np.flatnonzero(~good).tolist():
                number = int(piece.rows[row])
                if set_aside is None:
                    raise UserError(f"{self.place(number)} {problem}; correct it")
                text = ":".join(str(column[row]) for column in piece.batch.columns)
                set_aside(number, text, f"the line {problem}")
            yield piece.where(good)

    def _open_parquet(self) -> AbstractContextManager[PlainParquet]:
        cure = "it is another kind of file, damaged or cut off: copy it anew, or give its format"
        return open_parquet(self._fs, self._file.path, cure, name=self._file.name)

    @property
    def _is_compressed(self) -> bool:
        return compression_of(self._file.name) is not None

    def _is_one_line(self, file_size: int) -> bool:
        with io.BufferedReader(self._fs.open_input_file(self._file.path)) as file:
            return len(file.readline()) == file_size

    def _parquet_parts(self, wanted: int) -> list[Part]:
        with self._open_parquet() as opened:
            groups_there = range(opened.metadata.num_row_groups)
            sizes = [opened.metadata.row_group(group).num_rows for group in groups_there]
        return [
            Part(groups.start, groups.stop, sum(sizes[: groups.start]), sum(sizes[groups.start : groups.stop]))
            for groups in group_rows(sizes, wanted)
        ]

    def _read_parquet(self, columns: list[str], part: Part | None) -> Iterator[Piece]:
        groups = None if part is None else list(range(part.start, part.stop))
        size, threads = (_PIECE_ROWS, True) if part is None else (_PART_BATCH_ROWS, False)
        done = 0
        with self._open_parquet() as opened:
            for batch in opened.batches(columns, size, row_groups=groups, threads=threads):
                yield Piece(batch, np.arange(done, done + batch.num_rows))
                done += batch.num_rows
