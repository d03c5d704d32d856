"""Reads a file of delimited text in pieces, and finds the line of a row."""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence

import pyarrow.fs as pafs

from distributed_il.data.prepare.sources.delimited import begins_with_names, column_names, read_delimited
from distributed_il.data.prepare.sources.files import RawFile
from distributed_il.data.prepare.sources.known_logs import Layout, compression_of
from distributed_il.data.prepare.sources.pieces import Part, Piece, RawPieces, SetAside
from distributed_il.data.prepare.sources.text_lines import line_numbers


class DelimitedPieces(RawPieces):
    """One file of delimited text."""

    typed = False

    def __init__(self, fs: pafs.FileSystem, file: RawFile, layout: Layout) -> None:
        super().__init__(fs, file)
        self._layout = layout

    def columns(self) -> list[str]:
        return column_names(self._fs, self._file.path, self._file.name, self._layout)

    def num_rows(self) -> int:
        return 0

    def parts(self, rows: int, size: int) -> list[Part]:
        file_size = self._fs.get_file_info(self._file.path).size
        if not self._can_be_cut or self._is_one_line(file_size):
            return [Part(0, file_size)]
        return [Part(start, min(start + size, file_size)) for start in range(0, file_size, size)]

    def read(self, columns: list[str], set_aside: SetAside | None = None, part: Part | None = None) -> Iterator[Piece]:
        within = (part.start, part.stop) if part is not None and self._can_be_cut else None
        return read_delimited(self._fs, self._file.path, self._file.name, self._layout, columns, set_aside, within)

    def lines(self, rows: Sequence[int], start: int = 0) -> list[int]:
        header = not start and begins_with_names(self._fs, self._file.path, self._layout)
        ordinals = [row + 1 + header for row in rows]
        return line_numbers(self._fs, self._file.path, ordinals, start, self._layout.encoding)

    @property
    def _can_be_cut(self) -> bool:
        return compression_of(self._file.name) is None and self._layout.encoding is None

    def _is_one_line(self, file_size: int) -> bool:
        with io.BufferedReader(self._fs.open_input_file(self._file.path)) as file:
            return len(file.readline()) == file_size
