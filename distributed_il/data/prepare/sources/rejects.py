"""Collects the bad rows of a source, where the user allows for some."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from distributed_il.core.errors import UserError
from distributed_il.data.prepare.sources.column_names import shown

REJECTS_NAME = "rejects.csv"
"""File name, in the dataset."""
_FORMULA = ("=", "+", "-", "@", "\t")
"""What a cell begins with that a spreadsheet takes for a formula; a tab before one it skips."""
_SHOWN = 3
"""Bad rows that a message shows."""

Lines = Callable[[Sequence[int]], list[int]]
"""Turns numbers of rows, ascending, into lines."""


@dataclass(frozen=True, slots=True)
class _Reject:
    row: int
    column: str
    value: str
    problem: str


@dataclass(slots=True)
class Rejects:
    """The bad rows of a source."""

    max_share: float
    """Share of all rows that may be bad; 0 where the first bad row is an error."""
    _by_file: dict[str, list[_Reject]] = field(default_factory=dict[str, list[_Reject]])

    @property
    def allowed(self) -> bool:
        """Whether there may be any."""
        return self.max_share > 0

    @property
    def count(self) -> int:
        """Rows set aside."""
        return sum(len(rows) for rows in self._by_file.values())

    def add(self, file: str, row: int, column: str, value: object, problem: str) -> None:
        """Sets aside row number `row`, from 0, of a file; `column` is empty where it is the whole row."""
        shown = "" if value is None else str(value)
        self._by_file.setdefault(file, []).append(_Reject(row, column, shown, problem))

    def entries(self) -> list[tuple[str, int, str, str, str]]:
        """Returns the arguments of `add` for each of them."""
        return [
            (file, reject.row, reject.column, reject.value, reject.problem)
            for file, rejects in self._by_file.items()
            for reject in rejects
        ]

    def table(self, lines: dict[str, Lines]) -> str:
        """Formats all of them as CSV: file, line, column, value, problem; `lines` finds the lines of each file.

        An apostrophe stands before what a spreadsheet would compute.
        """
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(("file", "line", "column", "value", "problem"))
        for file, find in lines.items():
            rejects = self._sorted(file)
            for reject, line in zip(rejects, find([reject.row for reject in rejects]), strict=True):
                writer.writerow((_inert(file), line, *map(_inert, (reject.column, reject.value, reject.problem))))
        return text.getvalue()

    def check(self, rows_read: int, lines: dict[str, Lines]) -> None:
        """Raises `UserError` if more rows are bad, beside `rows_read` good ones, than `max_share` allows.

        It shows the first bad rows; `lines` finds the lines of each file in turn.
        """
        total = rows_read + self.count
        if self.count <= self.max_share * total:
            return
        examples: list[str] = []
        for file, find in lines.items():
            first = self._sorted(file)[: _SHOWN - len(examples)]
            for reject, line in zip(first, find([reject.row for reject in first]), strict=True):
                column = f", column {reject.column}" if reject.column else ""
                examples.append(f"{file}, line {line}{column}: {shown(reject.value)}: {reject.problem}")
        raise UserError(
            f"{self.count:,} of {total:,} rows are bad, a share of {self.count / total:.3g}, above max_reject_share "
            f"{self.max_share:g}; the first: {'; '.join(examples)}. Correct them, or allow for more"
        )

    def _sorted(self, file: str) -> list[_Reject]:
        return sorted(self._by_file.get(file, []), key=lambda reject: reject.row)


def _inert(text: str) -> str:
    text = text.replace("\r", "\\r")  # which the csv module does not quote, and others take for the end of a row
    return f"'{text}" if text.startswith(_FORMULA) else text
