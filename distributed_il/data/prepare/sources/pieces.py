"""A raw file of any format, read in pieces: what all formats offer, and what a piece is."""

from __future__ import annotations

import socket
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.fs as pafs
from numpy.typing import NDArray

from distributed_il.core.errors import UserError
from distributed_il.data.prepare.sources.files import RawFile

SetAside = Callable[[int, str, str], None]
"""Told of a line that is no row: its number among the data lines, from 0, its text, and what is wrong with it."""


class EmptyFileError(UserError):
    """A file without even a header."""


@dataclass(frozen=True, slots=True)
class Piece:
    """Some rows of a raw file."""

    batch: pa.RecordBatch
    rows: NDArray[np.int64]
    """int64 [n]: number of each row in what is read, the file or a range of it, from 0; blank lines are not counted."""

    @property
    def num_rows(self) -> int:
        """How many."""
        return self.batch.num_rows

    def where(self, good: NDArray[np.bool_]) -> Piece:
        """Returns the rows that are good, bool [n]."""
        return self if good.all() else Piece(self.batch.filter(pa.array(good)), self.rows[good])


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


class RawPieces(ABC):
    """One raw file, read piece by piece; `open_pieces` makes it."""

    typed: bool
    """Whether the file says of what type a column is."""
    has_header: bool | None = None
    """Of text that may have one: whether its first line names the columns."""
    keys: tuple[str, ...] = ()
    """Columns that are keys of the folders that the file lies in."""
    note: str = ""
    """How it is read, in a line for the user, where it was not their word that decided."""

    def __init__(self, fs: pafs.FileSystem, file: RawFile) -> None:
        """Reads nothing yet."""
        self._fs, self._file = fs, file

    @abstractmethod
    def columns(self) -> list[str]:
        """Reads the names of the columns.

        Raises:
            UserError: The file can't be read.
        """

    @abstractmethod
    def num_rows(self) -> int:
        """Returns the rows of the file; 0 where it takes reading to know."""

    @abstractmethod
    def parts(self, rows: int, size: int) -> list[Part]:
        """Cuts the file into parts; what can't be cut makes one.

        A part of Parquet has at least `rows` rows, but for the last one; a part of text has `size` bytes.

        Raises:
            UserError: The file can't be read.
        """

    @abstractmethod
    def read(self, columns: list[str], set_aside: SetAside | None = None, part: Part | None = None) -> Iterator[Piece]:
        """Reads some columns of the whole file, or of a part in this thread alone.

        `set_aside` is told of lines that are no rows; without it the first of them is an error.

        Yields:
            Pieces of the file or the part, in order; text fields are strings.

        Raises:
            UserError: The file is damaged, or a line does not fit.
        """

    @abstractmethod
    def lines(self, rows: Sequence[int], start: int = 0) -> list[int]:
        """Returns lines, from 1, of the rows of those numbers, from 0 and ascending; of Parquet, rows from 1.

        Rows are numbered from the first one whose line begins at the byte `start` or behind it.
        """

    def place(self, row: int, part: Part | None = None) -> str:
        """Returns file and line of the row of that number, from 0, in the file or in a part of it."""
        return f"{self._file.name}, line {self.lines([row], part.start if part else 0)[0]}"

    def require_plain(self, columns: Sequence[str]) -> None:
        """Raises `UserError` unless columns of Parquet hold plain values, so that reading them runs nothing."""
        return

    def require_here(self) -> None:
        """Raises `UserError` unless this machine sees the file."""
        if self._fs.get_file_info(self._file.path).type == pafs.FileType.NotFound:
            raise UserError(
                f"{self._file.path} does not exist on the node {socket.gethostname()}; give a source that all nodes "
                "see, or set workers to 1"
            )
