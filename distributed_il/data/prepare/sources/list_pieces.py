"""Reads lists, a user and their items in a line, in pieces of a row for each item."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import pyarrow as pa
import pyarrow.fs as pafs
from numpy.typing import NDArray

from distributed_il.core.arrow_compute import pc
from distributed_il.core.errors import UserError
from distributed_il.data.prepare.sources.files import RawFile
from distributed_il.data.prepare.sources.line_pieces import LinePieces
from distributed_il.data.prepare.sources.pieces import Part, Piece, SetAside
from distributed_il.data.prepare.sources.text_lines import SUBSTITUTE, line_numbers


class ListPieces(LinePieces):
    """One file of lists: `user item item …` or `user: item item …`, parted by blanks or commas."""

    typed = False

    def __init__(self, fs: pafs.FileSystem, file: RawFile, encoding: str | None, names: tuple[str, str]) -> None:
        """Reads nothing yet; `names` are what the columns of users and of items are called."""
        super().__init__(fs, file, encoding)
        self._names = names

    def read(self, columns: list[str], set_aside: SetAside | None = None, part: Part | None = None) -> Iterator[Piece]:
        done = lines_before = 0
        for lines in self._blocks():
            users, items, counts = _lists(lines)
            self._refuse_broken(lines, lines_before)
            table = dict(zip(self._names, (users.take(np.repeat(np.arange(len(lines)), counts)), items), strict=True))
            yield Piece(pa.record_batch({name: table[name] for name in columns}), np.arange(done, done + len(items)))
            done, lines_before = done + len(items), lines_before + len(lines)

    def lines(self, rows: Sequence[int], start: int = 0) -> list[int]:
        wanted, ordinals = np.asarray(rows, np.int64), np.zeros(len(rows), np.int64)
        done = lines_before = 0
        for lines in self._blocks():
            ends = done + np.cumsum(_lists(lines)[2])
            here = (wanted >= done) & (wanted < ends[-1])
            ordinals[here] = lines_before + 1 + np.searchsorted(ends, wanted[here], side="right")
            done, lines_before = int(ends[-1]), lines_before + len(lines)
        return line_numbers(self._fs, self._file.path, ordinals.tolist(), encoding=self._encoding)

    def _columns_of(self, lines: pa.Array) -> list[str]:
        return list(self._names)

    def _refuse_broken(self, lines: pa.Array, before: int) -> None:
        broken = pc.index(pc.match_substring(lines, SUBSTITUTE), pa.scalar(True)).as_py()
        if broken >= 0:
            (line,) = line_numbers(self._fs, self._file.path, [before + broken + 1])
            raise UserError(
                f"{self._file.name}, line {line}: it is not UTF-8; correct it, or give the encoding, such as latin-1"
            )


def _lists(lines: pa.Array) -> tuple[pa.Array, pa.Array, NDArray[np.int64]]:
    """Returns the user of each line, the items of all lines one after the other, and their number by line."""
    plain = pc.replace_substring_regex(lines, r"^\s*([^\s:,]+):", r"\1 ")
    fields = pc.utf8_split_whitespace(pc.utf8_trim_whitespace(pc.replace_substring(plain, ",", " ")))
    bounds, flat = fields.offsets.to_numpy(), fields.flatten()
    items = np.ones(len(flat), np.bool_)
    items[bounds[:-1]] = False
    return flat.take(pa.array(bounds[:-1])), flat.filter(pa.array(items)), np.diff(bounds).astype(np.int64) - 1
