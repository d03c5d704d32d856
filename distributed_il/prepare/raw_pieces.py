"""Reads the pieces of one raw file, of whatever format, and tells on which line a row stands."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pyarrow as pa
import pyarrow.compute
import pyarrow.fs as pafs
import pyarrow.parquet as pq

from distributed_il.errors import UserError
from distributed_il.prepare.delimited import MOVIELENS, TRIPLES, Layout, column_names, line_of_row, read_delimited
from distributed_il.prepare.raw_files import RawFile

# Its functions are made when it is imported, so that no type checker sees them.
pc: Any = pyarrow.compute

_PIECE_ROWS = 1 << 20
_TAB_SUFFIXES = (".tsv", ".inter", ".txt")
_BLANK = (" ", "")
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
        self._layout = _layout(file, delimiter)

    def columns(self) -> list[str]:
        """Names of the columns.

        Raises:
            UserError: The file can't be read.
        """
        if self._layout is None:
            with self._open_parquet() as opened:
                return opened.schema_arrow.names
        return column_names(self._fs, self._file.path, self._file.name, self._layout)

    def num_rows(self) -> int:
        """Rows of the file; 0 where it takes reading to know."""
        if self._layout is not None:
            return 0
        with self._open_parquet() as opened:
            return opened.metadata.num_rows

    def read(self, columns: list[str]) -> Iterator[pa.RecordBatch]:
        """Reads some columns.

        Yields:
            Pieces of the file, in order; text fields are strings.

        Raises:
            UserError: The file is damaged, or a line does not fit.
        """
        if self._layout is None:
            return self._read_parquet(columns)
        if self._file.format == "movielens":
            return self._read_movielens(columns)
        return read_delimited(self._fs, self._file.path, self._file.name, self._layout, columns)

    def place(self, row: int) -> str:
        """File and line of the row of that number, from 0."""
        if self._layout is None:
            return f"{self._file.name}, row {row + 1}"
        return f"{self._file.name}, line {line_of_row(self._fs, self._file.path, self._layout, row)}"

    def _read_movielens(self, columns: list[str]) -> Iterator[pa.RecordBatch]:
        done = 0
        for batch in read_delimited(self._fs, self._file.path, self._file.name, MOVIELENS, [*columns, *_BLANK]):
            for blank in _BLANK:
                row = pc.index(pc.equal(batch.column(blank), ""), pa.scalar(False)).as_py()
                if row >= 0:
                    raise UserError(f"{self.place(done + row)} is not User::Movie::Rating::Timestamp; correct it")
            yield batch
            done += batch.num_rows

    def _open_parquet(self) -> pq.ParquetFile:
        try:
            # Buffering ahead would keep every piece in memory until the file ends.
            return pq.ParquetFile(self._fs.open_input_file(self._file.path), pre_buffer=False)
        except (pa.ArrowException, OSError) as error:
            raise self._not_parquet(error) from error

    def _read_parquet(self, columns: list[str]) -> Iterator[pa.RecordBatch]:
        with self._open_parquet() as opened:
            try:
                yield from opened.iter_batches(batch_size=_PIECE_ROWS, columns=columns)
            except (pa.ArrowException, OSError) as error:
                raise self._not_parquet(error) from error

    def _not_parquet(self, error: Exception) -> UserError:
        return UserError(
            f"{self._file.name} can't be read as Parquet, so it is another kind of file, damaged or cut off ({error}); "
            "copy it anew, or give its format"
        )


def _layout(file: RawFile, delimiter: str | None) -> Layout | None:
    if file.format == "csv":
        tab = file.name.removesuffix(".gz").endswith(_TAB_SUFFIXES)
        return Layout(delimiter=delimiter or ("\t" if tab else ","), columns=None)
    return {"triples": TRIPLES, "movielens": MOVIELENS, "parquet": None}[file.format]
