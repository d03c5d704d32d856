"""Reads the pieces of one raw file, of whatever format, and tells on which line a row stands."""

from __future__ import annotations

import socket
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute
import pyarrow.fs as pafs
import pyarrow.parquet as pq

from distributed_il.core.errors import UserError
from distributed_il.data.prepare.sources.delimited import (
    Piece,
    SetAside,
    begins_with_names,
    column_names,
    line_numbers,
    read_delimited,
)
from distributed_il.data.prepare.sources.files import RawFile
from distributed_il.data.prepare.sources.known_logs import MOVIELENS, is_parquet, known_log, text_layout

# Its functions are made when it is imported, so that no type checker sees them.
pc: Any = pyarrow.compute

_PIECE_ROWS = 1 << 20
_BLANK = ("", " ", "  ")
"""Columns of a MovieLens file that are there because its separator is two characters wide."""


class RawPieces:
    """One raw file, read piece by piece."""

    def __init__(self, fs: pafs.FileSystem, file: RawFile, delimiter: str | None) -> None:
        """Nothing is read yet.

        Args:
            fs: Where the file lies.
            file: Which one.
            delimiter: What separates the fields of a CSV file; None goes by the file's name.
        """
        self._fs, self._file = fs, file
        log = known_log(file.format)
        parquet = file.format == "parquet" or (file.format != "csv" and log.layout is None and is_parquet(file.name))
        self._layout = None if parquet else text_layout(log, file.name, delimiter)

    def columns(self) -> list[str]:
        """Names of the columns.

        Raises:
            UserError: The file can't be read.
        """
        if self._layout is None:
            with self._open_parquet() as opened:
                return opened.schema_arrow.names
        return column_names(self._fs, self._file.path, self._file.name, self._layout)

    def require_here(self) -> None:
        """Refuses a file that is not to be seen from this machine.

        Raises:
            UserError: There is none.
        """
        if self._fs.get_file_info(self._file.path).type == pafs.FileType.NotFound:
            raise UserError(
                f"{self._file.path} does not exist on the node {socket.gethostname()}; give a source that all nodes "
                "see, or set workers to 1"
            )

    def num_rows(self) -> int:
        """Rows of the file; 0 where it takes reading to know."""
        if self._layout is not None:
            return 0
        with self._open_parquet() as opened:
            return opened.metadata.num_rows

    def read(self, columns: list[str], set_aside: SetAside | None = None) -> Iterator[Piece]:
        """Reads some columns.

        Args:
            columns: Which.
            set_aside: Told of lines that are no rows; without it the first of them is an error.

        Yields:
            Pieces of the file, in order; text fields are strings.

        Raises:
            UserError: The file is damaged, or a line does not fit.
        """
        if self._layout is None:
            return self._read_parquet(columns)
        if self._layout == MOVIELENS:
            return self._read_movielens(columns, set_aside)
        return read_delimited(self._fs, self._file.path, self._file.name, self._layout, columns, set_aside)

    def lines(self, rows: Sequence[int]) -> list[int]:
        """Lines, from 1, of the rows of those numbers, from 0 and ascending; of Parquet, rows from 1."""
        if self._layout is None:
            return [row + 1 for row in rows]
        header = begins_with_names(self._fs, self._file.path, self._layout)
        return line_numbers(self._fs, self._file.path, [row + 1 + header for row in rows])

    def place(self, row: int) -> str:
        """File and line of the row of that number, from 0."""
        kind = "row" if self._layout is None else "line"
        return f"{self._file.name}, {kind} {self.lines([row])[0]}"

    def _read_movielens(self, columns: list[str], set_aside: SetAside | None) -> Iterator[Piece]:
        file = self._file
        for piece in read_delimited(self._fs, file.path, file.name, MOVIELENS, [*columns, *_BLANK], set_aside):
            good = np.ones(piece.num_rows, dtype=np.bool_)
            for blank in _BLANK:
                good &= pc.equal(piece.batch.column(blank), "").to_numpy(zero_copy_only=False)
            if good.all():
                yield piece
                continue
            problem = "is not User::Movie::Rating::Timestamp"
            for row in np.flatnonzero(~good).tolist():
                number = int(piece.rows[row])
                if set_aside is None:
                    raise UserError(f"{self.place(number)} {problem}; correct it")
                text = ":".join(str(column[row]) for column in piece.batch.columns)
                set_aside(number, text, f"the line {problem}")
            yield Piece(piece.batch.filter(pa.array(good)), piece.rows[good])

    def _open_parquet(self) -> pq.ParquetFile:
        try:
            # Buffering ahead would keep every piece in memory until the file ends.
            source = self._fs.open_input_file(self._file.path)
            return pq.ParquetFile(source, pre_buffer=False, page_checksum_verification=True)
        except (pa.ArrowException, OSError) as error:
            raise self._not_parquet(error) from error

    def _read_parquet(self, columns: list[str]) -> Iterator[Piece]:
        done = 0
        with self._open_parquet() as opened:
            try:
                for batch in opened.iter_batches(batch_size=_PIECE_ROWS, columns=columns):
                    yield Piece(batch, np.arange(done, done + batch.num_rows))
                    done += batch.num_rows
            except (pa.ArrowException, OSError) as error:
                raise self._not_parquet(error) from error

    def _not_parquet(self, error: Exception) -> UserError:
        return UserError(
            f"{self._file.name} can't be read as Parquet, so it is another kind of file, damaged or cut off ({error}); "
            "copy it anew, or give its format"
        )
