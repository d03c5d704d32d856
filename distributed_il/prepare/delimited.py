"""Reads delimited text in pieces, every field as a string, so that a bad value can be told by its line."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.csv as pacsv
import pyarrow.fs as pafs

from distributed_il.errors import UserError

_BLOCK_BYTES = 2 << 20
"""Bytes that pyarrow reads at a time; it keeps some 40 such blocks ahead."""
_PIECE_ROWS = 1 << 19
"""Rows, at least, of a piece but the last: numbering ids costs the vocabulary's size for each piece."""


@dataclass(frozen=True, slots=True)
class Layout:
    """What a delimited file looks like."""

    delimiter: str
    columns: tuple[str, ...] | None
    """Names of the columns where the file has no header."""


TRIPLES = Layout(delimiter="\t", columns=("user", "item", "value"))
"""The files of the paper's authors."""
# MovieLens separates by two colons; with one colon for the separator, every second field is empty.
MOVIELENS = Layout(delimiter=":", columns=("user", "", "item", " ", "rating", "  ", "timestamp"))
"""MovieLens-1M's ratings.dat."""


def column_names(fs: pafs.FileSystem, path: str, name: str, layout: Layout) -> list[str]:
    """Names of a file's columns.

    Raises:
        UserError: The file is empty, or its lines do not fit together.
    """
    if layout.columns is not None:
        return list(layout.columns)
    with _opened(fs, path, name, layout, None) as reader:
        return reader.schema.names


def read_delimited(
    fs: pafs.FileSystem, path: str, name: str, layout: Layout, columns: list[str]
) -> Iterator[pa.RecordBatch]:
    """Reads some columns of a delimited file.

    Args:
        fs: Where the file lies.
        path: Its path there.
        name: Its name in messages.
        layout: What it looks like.
        columns: Which columns.

    Yields:
        Pieces of it, all columns strings, never null. Blank lines are skipped.

    Raises:
        UserError: A line has another number of fields, or is not UTF-8.
    """
    bad: list[Any] = []
    try:
        with _opened(fs, path, name, layout, columns, bad) as reader:
            waiting: list[pa.RecordBatch] = []
            for batch in reader:
                waiting.append(batch.select(columns))
                if sum(piece.num_rows for piece in waiting) >= _PIECE_ROWS:
                    yield _joined(waiting)
                    waiting = []
    except pa.ArrowInvalid as error:
        raise _explained(error, bad, fs, path, name) from error
    if any(piece.num_rows for piece in waiting):
        yield _joined(waiting)


def _joined(pieces: list[pa.RecordBatch]) -> pa.RecordBatch:
    return pa.Table.from_batches(pieces).combine_chunks().to_batches()[0]


def _opened(
    fs: pafs.FileSystem, path: str, name: str, layout: Layout, columns: list[str] | None, bad: list[Any] | None = None
) -> Any:
    bad = [] if bad is None else bad

    def refuse(row: Any) -> str:
        bad.append(row)
        return "error"

    convert = pacsv.ConvertOptions(
        include_columns=columns or [],
        column_types={column: pa.string() for column in columns or []},
        strings_can_be_null=False,
        check_utf8=True,
    )
    try:
        return pacsv.open_csv(
            fs.open_input_stream(path),
            read_options=pacsv.ReadOptions(use_threads=False, block_size=_BLOCK_BYTES, column_names=layout.columns),
            parse_options=pacsv.ParseOptions(delimiter=layout.delimiter, invalid_row_handler=refuse),
            convert_options=convert,
        )
    except pa.ArrowInvalid as error:
        raise _explained(error, bad, fs, path, name) from error


def _explained(error: Exception, bad: list[Any], fs: pafs.FileSystem, path: str, name: str) -> UserError:
    if bad:
        row = bad[0]
        line = line_number(fs, path, row.number)
        return UserError(
            f"{name}, line {line}: {row.actual_columns} fields instead of {row.expected_columns} ({row.text[:80]!r}); "
            "correct or remove the line, or give the right format and delimiter"
        )
    if "Empty CSV" in str(error):
        return UserError(f"{name} is empty; give a file with rows")
    return UserError(f"{name} can't be read as delimited UTF-8 text ({error}); convert it, or give its format")


def line_of_row(fs: pafs.FileSystem, path: str, layout: Layout, row: int) -> int:
    """The line, from 1, on which the data row of that number, from 0, stands."""
    return line_number(fs, path, row + (1 if layout.columns else 2))


def line_number(fs: pafs.FileSystem, path: str, ordinal: int) -> int:
    """The number, from 1, of the line that is the `ordinal`-th among those that are not blank."""
    with fs.open_input_stream(path) as stream:
        found, lines, rest = 0, 0, b""
        while chunk := stream.read(1 << 20):
            *whole, rest = (rest + chunk).split(b"\n")
            for line in whole:
                lines += 1
                found += bool(line.rstrip(b"\r"))
                if found == ordinal:
                    return lines
    return lines + 1
