"""Reads text whose lines make several rows each, or none, in pieces."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from typing import NoReturn

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from distributed_il.core.arrow_compute import pc
from distributed_il.core.errors import UserError
from distributed_il.data.prepare.sources.line_pieces import LinePieces
from distributed_il.data.prepare.sources.pieces import Part, Piece, SetAside
from distributed_il.data.prepare.sources.text_lines import SUBSTITUTE, line_numbers


class ExpandedPieces(LinePieces):
    """One file of such lines."""

    typed = False

    @abstractmethod
    def _expanded(self, lines: pa.Array, before: int) -> tuple[Mapping[str, pa.Array], NDArray[np.int64]]:
        """Returns the columns of the rows that some lines make, and how many rows each line makes.

        `before` is the number of lines before them; they come in order, and anew where that is 0.
        """

    def read(self, columns: list[str], set_aside: SetAside | None = None, part: Part | None = None) -> Iterator[Piece]:
        done = before = 0
        for lines in self._blocks():
            broken = pc.index(pc.match_substring(lines, SUBSTITUTE), pa.scalar(True)).as_py()
            if broken >= 0:
                self._refuse(before + broken, "it is not UTF-8; correct it, or give the encoding, such as latin-1")
            table, counts = self._expanded(lines, before)
            rows = int(counts.sum())
            yield Piece(pa.record_batch({name: table[name] for name in columns}), np.arange(done, done + rows))
            done, before = done + rows, before + len(lines)

    def lines(self, rows: Sequence[int], start: int = 0) -> list[int]:
        wanted, ordinals = np.asarray(rows, np.int64), np.zeros(len(rows), np.int64)
        done = before = 0
        for lines in self._blocks():
            ends = done + np.cumsum(self._expanded(lines, before)[1])
            here = (wanted >= done) & (wanted < ends[-1])
            ordinals[here] = before + 1 + np.searchsorted(ends, wanted[here], side="right")
            done, before = int(ends[-1]), before + len(lines)
        return line_numbers(self._fs, self._file.path, ordinals.tolist(), encoding=self._encoding)

    def _refuse(self, line: int, problem: str) -> NoReturn:
        """Raises `UserError` about a line, by its number from 0 among those that are not blank."""
        (number,) = line_numbers(self._fs, self._file.path, [line + 1], encoding=self._encoding)
        raise UserError(f"{self._file.name}, line {number}: {problem}")
