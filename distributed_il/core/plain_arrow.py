"""The one door to Parquet and Arrow files: only columns of plain values, or of lists of such, are ever read.

Values of an extension type are made by code that has registered itself: that of Ray Data unpickles what stands in the
file, whoever wrote it. So types are looked at when a file is opened, before any value is.
"""

from __future__ import annotations

from collections.abc import Collection, Generator, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import pyarrow as pa
import pyarrow.fs as pafs
import pyarrow.parquet as pq

from distributed_il.core.errors import UserError

_PLAIN = (
    pa.types.is_integer,
    pa.types.is_floating,
    pa.types.is_boolean,
    pa.types.is_string,
    pa.types.is_large_string,
    pa.types.is_string_view,
    pa.types.is_timestamp,
    pa.types.is_date,
    pa.types.is_decimal,
    pa.types.is_null,
)
_EXTENSION = b"ARROW:extension:name"
"""What marks a field of an extension type that nobody has registered, so that it comes as what it is stored as."""


class PlainParquet:
    """An open Parquet file; `open_parquet` makes it."""

    def __init__(self, file: pq.ParquetFile, place: str, cure: str) -> None:
        self._file, self._place, self._cure = file, place, cure
        self._schema = file.schema_arrow

    @property
    def names(self) -> list[str]:
        """Names of all columns, plain or not."""
        return self._schema.names

    @property
    def metadata(self) -> pq.FileMetaData:
        """What the file's end says about it."""
        return self._file.metadata

    def require_plain(self, columns: Collection[str]) -> None:
        """Raises `UserError` unless all of some columns are plain."""
        # To pyarrow "a.b" is the column of that name, and the field b of a column a.
        wanted = {column.partition(".")[0] for column in columns}.union(columns)
        require_plain([field for field in self._schema if field.name in wanted], self._place)

    def read(self, columns: Collection[str]) -> pa.Table:
        """Reads some columns.

        Raises:
            UserError: One is not plain, or the file is damaged.
        """
        self.require_plain(columns)
        with self._explained():
            return self._file.read(columns=list(columns), use_threads=False)

    def read_row_group(self, number: int, columns: Collection[str]) -> pa.Table:
        """Reads some columns of a row group; raises as `read`."""
        self.require_plain(columns)
        with self._explained():
            return self._file.read_row_group(number, columns=list(columns), use_threads=False)

    def batches(
        self, columns: Collection[str], rows: int, *, row_groups: Sequence[int] | None = None, threads: bool = False
    ) -> Iterator[pa.RecordBatch]:
        """Reads some columns, of some row groups or of all, at most `rows` rows at a time; raises as `read`."""
        self.require_plain(columns)
        with self._explained():
            yield from self._file.iter_batches(rows, row_groups=row_groups, columns=list(columns), use_threads=threads)

    @contextmanager
    def _explained(self) -> Generator[None]:
        with _explained("Parquet", self._place, self._cure, (pa.ArrowException, OSError)):
            yield


@contextmanager
def open_parquet(fs: pafs.FileSystem, path: str, cure: str, *, name: str = "") -> Generator[PlainParquet]:
    """Opens a Parquet file.

    Args:
        fs: Where it lies.
        path: Its path there.
        cure: What to do about a damaged one, for messages.
        name: What messages call it; by default its path.

    Raises:
        UserError: It can't be opened.
    """
    place = name or path
    with _explained("Parquet", place, cure):
        source = fs.open_input_file(path)
    with source:
        with _explained("Parquet", place, cure):
            # Buffering ahead would keep all that is read in memory until the file is closed.
            opened = pq.ParquetFile(source, pre_buffer=False, page_checksum_verification=True)
            file = PlainParquet(opened, place, cure)
        yield file


def open_arrow_file(source: Any, place: str, cure: str) -> pa.RecordBatchFileReader:
    """Opens what has the format of an Arrow file; messages call it `place`.

    Raises:
        UserError: It can't be opened, or a column is not plain.
    """
    with _explained("an Arrow file", place, cure):
        reader = pa.ipc.open_file(source)
        require_plain(reader.schema, place)
    return reader


def open_arrow_stream(source: Any, place: str, cure: str) -> pa.RecordBatchStreamReader:
    """Opens what has the format of an Arrow stream; raises as `open_arrow_file`."""
    with _explained("an Arrow stream", place, cure):
        reader = pa.ipc.open_stream(source)
        require_plain(reader.schema, place)
    return reader


def require_plain(fields: pa.Schema | Sequence[pa.Field], place: str) -> None:
    """Raises `UserError` unless all columns are of numbers, truth values, text, times or decimals, or lists of them.

    Args:
        fields: The columns that will be read.
        place: File, for the message.
    """
    for field in fields:
        kind = field.type
        marked = (field.metadata or {}).get(_EXTENSION)
        if marked is not None or not _is_plain(kind):
            what = f"of the extension type {marked.decode(errors='replace')!r}" if marked else f"of type {kind}"
            raise UserError(
                f"{place}, column {field.name}: it is {what}, and only numbers, text, times and true or false are read "
                "from files; write the column as one of these"
            )


def _is_plain(kind: pa.DataType) -> bool:
    if pa.types.is_dictionary(kind):
        return _is_plain(kind.value_type)
    if pa.types.is_list(kind) or pa.types.is_large_list(kind):
        item = kind.value_field
        return _EXTENSION not in (item.metadata or {}) and any(check(item.type) for check in _PLAIN)
    return any(check(kind) for check in _PLAIN)


@contextmanager
def _explained(what: str, place: str, cure: str, errors: tuple[type[Exception], ...] = (Exception,)) -> Generator[None]:
    """Words errors of reading; when a file is opened, a registered extension type may raise any."""
    try:
        yield
    except UserError:
        raise
    except errors as error:
        raise UserError(f"{place} can't be read as {what} ({error}); {cure}") from error
