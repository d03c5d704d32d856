"""Reads text whose lines make several rows each, or none, in pieces."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import NoReturn

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from distributed_il.core.arrow_compute import pc
from distributed_il.core.errors import UserError
from distributed_il.data.prepare.sources.line_pieces import LinePieces
from distributed_il.data.prepare.sources.pieces import Part, Piece, SetAside
from distributed_il.data.prepare.sources.text_lines import SUBSTITUTE, line_numbers, shown_line

_NOT_UTF8 = "it is not UTF-8; correct it, or give the encoding, such as latin-1"


class ExpandedPieces(LinePieces):
    """One file of such lines."""

    typed = False

    @abstractmethod
    def _expanded(self, lines: pa.Array) -> tuple[Mapping[str, pa.Array], NDArray[np.int64]]:
        """Returns the columns of the rows that some good lines make, and how many rows each line makes."""

    def _problems(self, lines: pa.Array, before: int) -> dict[str, NDArray[np.bool_]]:
        """Returns which lines can't be read, bool [n], by what is wrong with them; called before `_expanded`.

        `before` is the number of lines before them; they come in order, and anew where that is 0.
        """
        return {}

    def read(self, columns: list[str], set_aside: SetAside | None = None, part: Part | None = None) -> Iterator[Piece]:
        done = before = 0
        for lines in self._blocks():
            problem_of = self._bad(lines, before)
            if problem_of and set_aside is None:
                self._refuse(before + min(problem_of), problem_of[min(problem_of)])
            good, table, counts = self._rows(lines, problem_of)
            firsts = done + np.cumsum(counts) - counts
            for line, problem in problem_of.items():
                assert set_aside is not None
                set_aside(int(firsts[line]), shown_line(lines[line].as_py()), problem)
            rows = np.arange(done, done + counts.sum())[np.repeat(good, counts)]
            yield Piece(pa.record_batch({name: table[name] for name in columns}), rows)
            done, before = done + int(counts.sum()), before + len(lines)

    def lines(self, rows: Sequence[int], start: int = 0) -> list[int]:
        wanted, ordinals = np.asarray(rows, np.int64), np.zeros(len(rows), np.int64)
        done = before = 0
        for lines in self._blocks():
            ends = done + np.cumsum(self._rows(lines, self._bad(lines, before))[2])
            here = (wanted >= done) & (wanted < ends[-1])
            ordinals[here] = before + 1 + np.searchsorted(ends, wanted[here], side="right")
            done, before = int(ends[-1]), before + len(lines)
        return line_numbers(self._fs, self._file.path, ordinals.tolist(), encoding=self._encoding)

    def _bad(self, lines: pa.Array, before: int) -> dict[int, str]:
        """Returns what is wrong with each line that can't be read, by its place, ascending."""
        broken = pc.match_substring(lines, SUBSTITUTE).to_numpy(zero_copy_only=False)
        found: dict[int, str] = {}
        for problem, wrong in {_NOT_UTF8: broken, **self._problems(lines, before)}.items():
            found = dict.fromkeys(np.flatnonzero(wrong).tolist(), problem) | found
        return dict(sorted(found.items()))

    def _rows(
        self, lines: pa.Array, bad: Collection[int]
    ) -> tuple[NDArray[np.bool_], Mapping[str, pa.Array], NDArray[np.int64]]:
        """Returns which lines are good, the columns of their rows, and the rows of each line: one of a bad one."""
        good, counts = np.ones(len(lines), np.bool_), np.ones(len(lines), np.int64)
        good[list(bad)] = False
        table, counts[good] = self._expanded(lines.filter(pa.array(good)))
        return good, table, counts

    def _refuse(self, line: int, problem: str) -> NoReturn:
        """Raises `UserError` about a line, by its number from 0 among those that are not blank."""
        (number,) = line_numbers(self._fs, self._file.path, [line + 1], encoding=self._encoding)
        raise UserError(f"{self._file.name}, line {number}: {problem}")
