"""Reads delimited text in pieces, every field as a string, so that a bad value can be told by its line."""

from __future__ import annotations

import io
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.csv as pacsv
import pyarrow.fs as pafs
from numpy.typing import NDArray

from distributed_il.core.arrow_compute import pc
from distributed_il.core.errors import UserError
from distributed_il.data.prepare.sources.known_logs import Layout
from distributed_il.data.prepare.sources.pieces import EmptyFileError, Piece, SetAside
from distributed_il.data.prepare.sources.text_lines import (
    SEPARATOR,
    SUBSTITUTE,
    TextStream,
    line_numbers,
    lines_within,
    open_text,
    shown_line,
)

_BLOCK_BYTES = 2 << 20
"""Bytes that pyarrow reads at a time; it keeps some 40 such blocks ahead."""
_PIECE_ROWS = 1 << 19
"""Rows, at least, of a piece but the last: numbering ids costs the vocabulary's size for each piece."""
_SHOWN_ERROR = 200
"""Characters of an error of pyarrow, which may quote a whole line."""


@dataclass(slots=True)
class _Parsing:
    """One reading of a file, which knows the lines it skipped and so the line of each parsed row."""

    fs: pafs.FileSystem
    path: str
    name: str
    layout: Layout
    header_lines: int
    set_aside: SetAside | None
    within: tuple[int, int] | None = None
    skipped: list[int] = field(default_factory=list[int])
    """Data lines, from 0, that pyarrow did not parse; it comes by them ahead of the rows."""
    refused: Any = None

    def open(self) -> Any:
        """Opens the bytes to be parsed."""
        if self.within is None:
            return open_text(self.fs, self.path, self.layout.encoding)
        return io.BytesIO(lines_within(self.fs, self.path, self.within, self.header_lines))

    def skip(self, row: Any) -> str:
        """Handles a line with another number of fields, for pyarrow."""
        if self.set_aside is None:
            self.refused = row
            return "error"
        number = row.number - 1 - self.header_lines
        self.skipped.append(number)
        self.set_aside(number, self._text(row), _wrong_width(row))
        return "skip"

    def numbers(self, first: int, count: int) -> NDArray[np.int64]:
        """Returns the data lines of the parsed rows first … first + count − 1."""
        parsed = np.arange(first, first + count)
        if not self.skipped:
            return parsed
        gone = np.asarray(self.skipped, dtype=np.int64)
        # Of the skipped lines, those count that at most so many parsed rows stand before.
        return parsed + np.searchsorted(gone - np.arange(gone.size), parsed, side="right")

    def place(self, number: int) -> str:
        """Names file and line of a data line."""
        start = self.within[0] if self.within else 0
        ordinals = [number + 1 + (0 if start else self.header_lines)]
        (line,) = line_numbers(self.fs, self.path, ordinals, start, self.layout.encoding)
        return f"{self.name}, line {line}"

    def explained(self, error: Exception) -> UserError:
        """Turns an error of pyarrow into one for the user."""
        if self.refused is not None:
            return UserError(
                f"{self.place(self.refused.number - 1 - self.header_lines)}: {_wrong_width(self.refused)} "
                f"({self._text(self.refused)!r}); correct or remove the line, or give the right format and "
                "delimiter"
            )
        if "Empty CSV" in str(error):
            return EmptyFileError(f"{self.name} is empty; give a file with rows")
        encoding = self.layout.encoding or "UTF-8"
        return UserError(
            f"{self.name} can't be read as delimited {encoding} text ({str(error)[:_SHOWN_ERROR]}); convert it, copy "
            "it anew, or give its format, or its encoding, such as latin-1"
        )

    def _text(self, row: Any) -> str:
        return shown_line(row.text.replace(SEPARATOR, self.layout.delimiter))


def _wrong_width(row: Any) -> str:
    return f"{row.actual_columns} fields instead of {row.expected_columns}"


def column_names(fs: pafs.FileSystem, path: str, name: str, layout: Layout) -> list[str]:
    """Reads the names of a file's columns.

    Raises:
        UserError: The file is empty, or its lines do not fit together.
    """
    if layout.columns is not None:
        return list(layout.columns)
    parsing = _Parsing(fs, path, name, layout, 1, lambda number, text, problem: None)
    try:
        reader, stream = _opened(parsing, None)
        try:
            with reader:
                return reader.schema.names
        finally:
            stream.stop()
    except (pa.ArrowException, OSError) as error:
        raise parsing.explained(error) from error


def read_delimited(
    fs: pafs.FileSystem,
    path: str,
    name: str,
    layout: Layout,
    columns: list[str],
    set_aside: SetAside | None = None,
    within: tuple[int, int] | None = None,
) -> Iterator[Piece]:
    """Reads some columns of a delimited file.

    `set_aside` is told of lines that are no rows; without it the first of them is an error. `within` is the range of
    bytes in which the lines that are read begin; None for the whole file.

    Yields:
        Pieces of it, all columns strings, never null. Blank lines are skipped.

    Raises:
        UserError: A line has another number of fields, or is not UTF-8, or a quotation goes over several lines.
    """
    header = begins_with_names(fs, path, layout)
    parsing = _Parsing(fs, path, name, layout, int(header), set_aside, within)
    parsed = 0
    try:
        reader, stream = _opened(parsing, columns, skip_header=header)
        try:
            with reader:
                for batch in _joined(reader):
                    batch = batch.select(columns)
                    if layout.quoted and stream.delimiter != layout.delimiter:
                        batch = _with_delimiters(batch, layout.delimiter)
                    piece = Piece(batch, parsing.numbers(parsed, batch.num_rows))
                    parsed += batch.num_rows
                    yield _checked(piece, parsing)
        finally:
            stream.stop()
    except (pa.ArrowException, OSError) as error:
        if within is not None and "Empty CSV" in str(error):
            return  # no line begins in the range, and none there names the columns
        raise parsing.explained(error) from error
    stream.counter.finish()
    if parsed + len(parsing.skipped) + header != stream.counter.filled:
        raise UserError(
            f"{name} has {stream.counter.filled - header:,} lines but only {parsed + len(parsing.skipped):,} rows: a "
            "quotation mark is not closed, or a field holds a line break; correct it, and write every row in a line"
        )


def _with_delimiters(batch: pa.RecordBatch, delimiter: str) -> pa.RecordBatch:
    """Returns fields with the delimiters that stood in quotation marks."""
    columns = [pc.replace_substring(column, SEPARATOR, delimiter) for column in batch.columns]
    return pa.record_batch(columns, names=batch.schema.names)


def _joined(reader: Any) -> Iterator[pa.RecordBatch]:
    waiting: list[pa.RecordBatch] = []
    for batch in reader:
        waiting.append(batch)
        if sum(piece.num_rows for piece in waiting) >= _PIECE_ROWS:
            yield _one(waiting)
            waiting = []
    if any(piece.num_rows for piece in waiting):
        yield _one(waiting)


def _one(pieces: list[pa.RecordBatch]) -> pa.RecordBatch:
    return pa.Table.from_batches(pieces).combine_chunks().to_batches()[0]


def _checked(piece: Piece, parsing: _Parsing) -> Piece:
    """Refuses or sets aside rows with bytes that are no UTF-8."""
    good = np.ones(piece.num_rows, dtype=np.bool_)
    for name, column in zip(piece.batch.schema.names, piece.batch.columns, strict=True):
        broken = pc.match_substring(column, SUBSTITUTE).to_numpy(zero_copy_only=False)
        for row in np.flatnonzero(broken & good).tolist():
            number, text = int(piece.rows[row]), shown_line(column[row].as_py())
            if parsing.set_aside is None:
                raise UserError(
                    f"{parsing.name} can't be read as delimited UTF-8 text: {parsing.place(number)}, column {name}: "
                    f"{text!r}; correct it, convert the file, or give its format, or its encoding, such as latin-1"
                )
            parsing.set_aside(number, text, f"column {name} is not UTF-8")
        good &= ~broken
    return piece.where(good)


def _opened(parsing: _Parsing, columns: list[str] | None, *, skip_header: bool = False) -> tuple[Any, TextStream]:
    layout = parsing.layout
    stream = TextStream(parsing.open(), layout.delimiter)
    try:
        reader = pacsv.open_csv(
            pa.PythonFile(stream, mode="r"),
            read_options=pacsv.ReadOptions(
                use_threads=False,
                block_size=_BLOCK_BYTES,
                column_names=layout.columns,
                skip_rows=int(skip_header and layout.columns is not None),
            ),
            parse_options=pacsv.ParseOptions(
                delimiter=stream.delimiter, quote_char='"' if layout.quoted else False, invalid_row_handler=parsing.skip
            ),
            convert_options=pacsv.ConvertOptions(
                include_columns=columns or [],
                column_types=dict.fromkeys(columns or [], pa.string()),
                strings_can_be_null=False,
                check_utf8=False,  # the stream has seen to it
            ),
        )
    except BaseException:
        stream.stop()
        raise
    return reader, stream


def begins_with_names(fs: pafs.FileSystem, path: str, layout: Layout) -> bool:
    """Returns whether the first line names the columns.

    Raises:
        UserError: The file can't be read.
    """
    if layout.columns is None or not layout.may_have_header:
        return layout.columns is None
    try:
        with open_text(fs, path, layout.encoding) as stream:
            return stream.read(len(layout.columns[0])).decode(errors="replace").lower() == layout.columns[0]
    except OSError as error:
        raise UserError(f"{path} can't be read ({error}); copy it anew") from error
