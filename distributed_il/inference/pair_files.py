"""Files of pairs in external ids, Parquet or delimited text, cut into pieces that are read one by one."""

from __future__ import annotations

import io
import posixpath
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.csv as pacsv
import pyarrow.fs as pafs
import pyarrow.parquet as pq

from distributed_il.core.errors import UserError
from distributed_il.core.files import filesystem

PIECE_ROWS = 262_144
"""Rows of a piece of Parquet, at least, but for the last one of a file."""
PIECE_BYTES = 8 << 20
"""Bytes of a piece of text."""
BATCH_ROWS = 65_536
"""Rows that are read together."""
_PARQUET = (".parquet", ".pq")
_TAB = (".tsv", ".txt", ".inter")
_TEXT = (".csv", *_TAB)
_PACKED = (".gz", ".bz2", ".zst")


@dataclass(frozen=True, slots=True)
class FilePiece:
    """A part of one file: row groups of Parquet, or the lines that begin within a range of bytes.

    Attributes:
        path: File, on the filesystem.
        start: First row group, or first byte.
        stop: Behind the last one.
        first_row: Of Parquet: number of its first row in the file, from 0.
        rows: Rows; 0 where it takes reading the file to know.
    """

    path: str
    start: int
    stop: int
    first_row: int = 0
    rows: int = 0


@dataclass(frozen=True, slots=True)
class PairFiles:
    """Files of pairs.

    Attributes:
        filesystem: Where they lie.
        columns: Names of the columns to read.
        files: Path, size and time of each, which tell whether it is still the same.
        pieces: Of all files, in order.
    """

    filesystem: pafs.FileSystem
    columns: tuple[str, ...]
    files: tuple[tuple[str, int, int], ...]
    pieces: tuple[FilePiece, ...]

    def read(self, piece: FilePiece) -> Iterator[pa.RecordBatch]:
        """Reads the columns of a piece.

        Raises:
            UserError: The file is damaged.
        """
        try:
            yield from self._parquet(piece) if piece.path.endswith(_PARQUET) else self._text(piece)
        except (pa.ArrowException, OSError) as error:
            raise UserError(f"{piece.path} can't be read ({error}); copy it anew, or correct it") from error

    def place(self, piece: FilePiece, row: int) -> str:
        """File and row, or line of text, of the row of a piece with that number, from 0."""
        if piece.path.endswith(_PARQUET):
            return f"{piece.path}, row {piece.first_row + row + 1}"
        packed, offset, line = piece.path.endswith(_PACKED), 0, 0
        with self.filesystem.open_input_stream(piece.path) as stream:
            for line, text in enumerate(io.BufferedReader(stream), start=1):
                counts = line > 1 and text.strip() and (packed or offset >= piece.start)
                if counts and row == 0:
                    break
                row -= bool(counts)
                offset += len(text)
        return f"{piece.path}, line {line}"

    def _parquet(self, piece: FilePiece) -> Iterator[pa.RecordBatch]:
        with self.filesystem.open_input_file(piece.path) as source, pq.ParquetFile(source, pre_buffer=False) as file:
            groups = list(range(piece.start, piece.stop))
            yield from file.iter_batches(BATCH_ROWS, row_groups=groups, columns=list(self.columns), use_threads=False)

    def _text(self, piece: FilePiece) -> Iterator[pa.RecordBatch]:
        if piece.path.endswith(_PACKED):
            source = self.filesystem.open_input_stream(piece.path)
        else:
            source = io.BytesIO(_lines(self.filesystem, piece))
        with _csv(source, piece.path, self.columns) as reader:
            yield from reader


def find_pairs(source: str, columns: Sequence[str]) -> PairFiles:
    """Looks at the files, and checks that each has the columns.

    Args:
        source: A file or a directory of files, as a path or a pyarrow URI: Parquet, or text with a header, its fields
            parted by commas, or by tabs where its name ends in .tsv, .txt or .inter; text may be packed by gzip.
        columns: Names of the columns to read.

    Raises:
        UserError: There is no such file, it can't be read, or a column is missing.
    """
    fs, root = filesystem(source)
    found = fs.get_file_info(root)
    if found.type == pafs.FileType.NotFound:
        raise UserError(f"{source} does not exist; give a Parquet or CSV file, or a directory of such")
    infos = [found]
    if found.type == pafs.FileType.Directory:
        infos = [info for info in fs.get_file_info(pafs.FileSelector(root)) if _is_read(info)]
        infos.sort(key=lambda info: info.path)
    if not infos or not all(_is_read(info) for info in infos):
        raise UserError(f"{source}: the name tells no format; give files that end in {', '.join((*_PARQUET, *_TEXT))}")
    pieces: list[FilePiece] = []
    for info in infos:
        try:
            pieces += _pieces(fs, info, columns)
        except (pa.ArrowException, OSError) as error:
            raise UserError(f"{info.path} can't be read ({error}); copy it anew, or correct it") from error
    if not pieces:
        raise UserError(f"{source} holds no rows; give a file with rows")
    files = tuple((info.path, info.size, int(info.mtime_ns or 0)) for info in infos)
    return PairFiles(fs, tuple(columns), files, tuple(pieces))


def _is_read(info: pafs.FileInfo) -> bool:
    name = posixpath.basename(info.path)
    for packed in _PACKED:
        name = name.removesuffix(packed) if not name.endswith(_PARQUET) else name
    return info.type == pafs.FileType.File and not name.startswith(("_", ".")) and name.endswith((*_PARQUET, *_TEXT))


def _pieces(fs: pafs.FileSystem, info: pafs.FileInfo, columns: Sequence[str]) -> Iterator[FilePiece]:
    if info.path.endswith(_PARQUET):
        yield from _parquet_pieces(fs, info.path, columns)
        return
    with fs.open_input_stream(info.path) as source, _csv(source, info.path, None) as reader:
        _require_columns(info.path, reader.schema.names, columns)
    if info.path.endswith(_PACKED):
        yield FilePiece(info.path, 0, info.size)
        return
    for start in range(0, info.size, PIECE_BYTES):
        yield FilePiece(info.path, start, min(start + PIECE_BYTES, info.size))


def _parquet_pieces(fs: pafs.FileSystem, path: str, columns: Sequence[str]) -> Iterator[FilePiece]:
    with fs.open_input_file(path) as source, pq.ParquetFile(source) as file:
        _require_columns(path, file.schema_arrow.names, columns)
        sizes = [file.metadata.row_group(group).num_rows for group in range(file.num_row_groups)]
    first_row, start, rows = 0, 0, 0
    for group, size in enumerate(sizes, start=1):
        rows += size
        if rows and (rows >= PIECE_ROWS or group == len(sizes)):
            yield FilePiece(path, start, group, first_row, rows)
            first_row, start, rows = first_row + rows, group, 0


def _require_columns(path: str, found: list[str], columns: Sequence[str]) -> None:
    for name in columns:
        if found.count(name) != 1:
            state = "has no column" if name not in found else f"has {found.count(name)} columns called"
            raise UserError(
                f"{path} {state} {name!r}, only {', '.join(found)}; name the columns by user_column and item_column"
            )


def _csv(source: pa.NativeFile | io.BytesIO, path: str, columns: Sequence[str] | None) -> pacsv.CSVStreamingReader:
    """Opens text; all fields are strings, so that no piece takes an id for another kind than the next one does."""
    name = path
    for packed in _PACKED:
        name = name.removesuffix(packed)
    return pacsv.open_csv(
        source,
        read_options=pacsv.ReadOptions(use_threads=False, block_size=1 << 20),
        parse_options=pacsv.ParseOptions(delimiter="\t" if name.endswith(_TAB) else ","),
        convert_options=pacsv.ConvertOptions(
            include_columns=columns or [],
            column_types={column: pa.string() for column in columns or []},
            strings_can_be_null=True,
            null_values=[""],
        ),
    )


def _lines(fs: pafs.FileSystem, piece: FilePiece) -> bytes:
    """The header, and the lines whose first byte lies in the piece."""
    with fs.open_input_file(piece.path) as file:
        header = _to_line_end(file, 0)
        if piece.start == 0:
            start = len(header)
        else:
            # A line that begins exactly at the start is told by the line end just before.
            start = piece.start - 1 + len(_to_line_end(file, piece.start - 1))
        start = max(start, len(header))
        if start >= piece.stop:
            return header
        file.seek(start)
        return header + file.read(piece.stop - start) + _rest_of_line(file, piece.stop)


def _rest_of_line(file: pa.NativeFile, stop: int) -> bytes:
    file.seek(stop - 1)
    return b"" if file.read(1) == b"\n" else _to_line_end(file, stop)


def _to_line_end(file: pa.NativeFile, start: int) -> bytes:
    file.seek(start)
    read = b""
    while chunk := file.read(4096):
        end = chunk.find(b"\n")
        if end >= 0:
            return read + chunk[: end + 1]
        read += chunk
    return read
