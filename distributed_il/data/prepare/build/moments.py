"""Keys that order rows by time: exact for integers and dates, to the nanosecond, else those of float64."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

_SIGN = np.uint64(1 << 63)


@dataclass(slots=True)
class TimeScale:
    """What the times of a source are; known once all are read."""

    exact: bool = True
    """Whether all are integers, or dates that nanoseconds since 1970 can tell."""
    dates: bool = False
    """Whether they are dates."""

    def raw(self, times: pa.ChunkedArray) -> tuple[NDArray[np.uint64], bool]:
        """Takes in the times of a piece, timestamps, int64 or float64, and returns them as bits.

        Returns:
            uint64 [n] for `keys`, and whether they are integers.
        """
        values: Any = times
        self.dates = pa.types.is_timestamp(times.type)
        if self.dates:
            in_ns = times.type.unit == "ns"
            values = times.cast(pa.int64())
            values = values if in_ns else values.cast(pa.float64(), safe=False)
        numbers = values.to_numpy()
        if self.dates and numbers.dtype == np.float64:
            numbers = numbers * 1e3
        exact = numbers.dtype == np.int64
        self.exact &= exact
        return np.ascontiguousarray(numbers).view(np.uint64), exact

    def keys(self, raw: NDArray[np.uint64], exact: bool) -> NDArray[np.uint64]:
        """Returns the keys of a piece, uint64 [n], of the order of its times among those of all pieces."""
        if self.exact:
            return raw ^ _SIGN
        return sortable(raw.view(np.int64).astype(np.float64) if exact else raw.view(np.float64))

    def text(self, key: int) -> str:
        """Writes a time of that key for people: a number, or a date to the second."""
        bits = np.uint64(key)
        if self.exact:
            value: Any = (bits ^ _SIGN).view(np.int64)
        else:
            value = (bits ^ _SIGN if bits & _SIGN else ~bits).view(np.float64)
        if not self.dates:
            return f"{value:d}" if self.exact else f"{value:.15g}"
        seconds = int(value) // 10**9 if self.exact else int(value / 1e9)
        return str(np.datetime64(seconds, "s")).replace("T", " ")


def sortable(values: NDArray[np.float64]) -> NDArray[np.uint64]:
    """Maps finite float64 [n] to uint64 [n] of the same order."""
    bits = np.ascontiguousarray(values + 0.0).view(np.uint64)  # −0 becomes 0
    return np.where(bits & _SIGN, ~bits, bits | _SIGN)
