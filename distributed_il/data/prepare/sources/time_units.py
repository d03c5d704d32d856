"""Finds files whose times are of different kinds, so that June would come before May: dates, seconds, milliseconds."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa

from distributed_il.core.errors import UserError

_EDGES = (1e8, 1e10, 1e11, 1e13, 1e14, 1e16, 1e17, 1e19)
"""Of 1973 and of 2286, counted from 1970 in each unit; what lies between two units, or below, is some other count."""
_UNITS = ("seconds", "milliseconds", "microseconds", "nanoseconds")
_DATES, _ZONED, _OTHER = "dates", "dates with a zone", "other numbers"


class TimeUnits:
    """Counts the times of each kind, and knows the first file that has some."""

    def __init__(self) -> None:
        self._found: dict[str, tuple[int, str, str]] = {}  # times of a kind, the first file of such, one of its times

    def add(self, file: str, times: pa.Array) -> None:
        """Counts some times of a file: timestamps, int64 or float64."""
        if pa.types.is_timestamp(times.type):
            self._add(_ZONED if times.type.tz else _DATES, len(times), file, str(times[0]) if len(times) else "")
            return
        values: Any = times.to_numpy()
        bins = np.searchsorted(_EDGES, values, side="right")
        for number in np.unique(bins).tolist():
            kind = _UNITS[number // 2] if number % 2 else _OTHER
            here = bins == number
            self._add(kind, int(here.sum()), file, str(values[here.argmax()]))

    def _add(self, kind: str, count: int, file: str, example: str) -> None:
        if count:
            before, first, value = self._found.get(kind, (0, file, example))
            first, value = min((first, value), (file, example))
            self._found[kind] = (before + count, first, value)

    def entries(self) -> list[tuple[str, int, str, str]]:
        """Returns what `add_entries` takes, for another process."""
        return [(kind, *found) for kind, found in self._found.items()]

    def add_entries(self, entries: list[tuple[str, int, str, str]]) -> None:
        """Adds what another process has counted."""
        for entry in entries:
            self._add(*entry)

    def check(self) -> None:
        """Raises `UserError` if there are dates and numbers, or dates with and without a zone.

        Or counts from 1970 in two units and hardly any other.
        """
        numbers = [kind for kind in (*_UNITS, _OTHER) if kind in self._found]
        kinds = [kind for kind in (_DATES, _ZONED) if kind in self._found] + numbers[:1]
        if len(kinds) > 1:
            raise self._mixed(kinds[0], kinds[1])
        # Counts of another origin, such as from a start, may run through what would be two units.
        units = sorted(self._found.keys() & set(_UNITS), key=lambda kind: -self._found[kind][0])
        others = self._found.get(_OTHER, (0,))[0]
        if len(units) > 1 and self._found[units[1]][0] > others:
            raise self._mixed(units[0], units[1])

    def _mixed(self, one: str, other: str) -> UserError:
        told = sorted((self._found[kind][1], kind, self._found[kind][2]) for kind in (one, other))
        (file, one, example), (second, other, another) = told
        return UserError(
            f"{file} has times that are {one} ({example}) and {second} such that are {other} ({another}), which do not "
            "compare; write all times alike"
        )
