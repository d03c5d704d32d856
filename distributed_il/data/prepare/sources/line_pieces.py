"""Reads a file of text whose lines are no delimited fields, some lines at a time."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator

import pyarrow as pa
import pyarrow.fs as pafs

from distributed_il.core.errors import UserError
from distributed_il.data.prepare.sources.files import RawFile
from distributed_il.data.prepare.sources.pieces import EmptyFileError, Part, RawPieces
from distributed_il.data.prepare.sources.text_lines import line_blocks


class LinePieces(RawPieces):
    """One file whose lines are read whole."""

    def __init__(self, fs: pafs.FileSystem, file: RawFile, encoding: str | None) -> None:
        super().__init__(fs, file)
        self._encoding = encoding

    def num_rows(self) -> int:
        return 0

    def parts(self, rows: int, size: int) -> list[Part]:
        return [Part(0, self._fs.get_file_info(self._file.path).size)]

    def _blocks(self) -> Iterator[pa.Array]:
        """Yields the lines that are not blank, as strings, some at a time.

        Raises:
            UserError: The file can't be read, or it has no such line.
        """
        empty = True
        try:
            for lines in line_blocks(self._fs, self._file.path, self._encoding):
                empty = False
                yield pa.array(lines, pa.string())
        except (pa.ArrowException, OSError, UnicodeError) as error:
            raise UserError(f"{self._file.name} can't be read ({error}); copy it anew, or give its encoding") from error
        if empty:
            raise EmptyFileError(f"{self._file.name} is empty; give a file with rows")

    @abstractmethod
    def _columns_of(self, lines: pa.Array) -> list[str]:
        """Returns the names of the columns of some lines."""

    def columns(self) -> list[str]:
        return self._columns_of(next(self._blocks()))
