"""The k-th smallest of many numbers that come in pieces, found by counting digits, with nothing sorted or kept."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import numpy as np
from numpy.typing import NDArray

_DIGIT_BITS, _BITS = 16, 64
_FEW = 1 << 20
"""So many numbers are sorted instead."""

Pieces = Callable[[], Iterable[NDArray[np.uint64]]]
"""Yields all numbers, uint64, the same at every call."""


def order_statistic(pieces: Pieces, rank: int) -> int:
    """The number below which exactly `rank` others lie, equal ones counted one by one.

    Args:
        pieces: The numbers.
        rank: From 0.

    Returns:
        It; 2**64 − 1 where there are not more than `rank` numbers.
    """
    prefix = 0
    for shift in range(_BITS - _DIGIT_BITS, -1, -_DIGIT_BITS):
        counts = np.zeros(1 << _DIGIT_BITS, dtype=np.int64)
        for numbers in pieces():
            digits = _within(numbers, prefix, shift + _DIGIT_BITS) >> np.uint64(shift)
            counts += np.bincount((digits & np.uint64((1 << _DIGIT_BITS) - 1)).astype(np.int64), minlength=counts.size)
        ends = np.cumsum(counts)
        if rank >= ends[-1]:
            return 2**_BITS - 1
        digit = int(np.searchsorted(ends, rank, side="right"))
        rank -= int(ends[digit] - counts[digit])
        prefix = (prefix << _DIGIT_BITS) | digit
        if counts[digit] <= _FEW:
            near = [_within(numbers, prefix, shift) for numbers in pieces()]
            return int(np.sort(np.concatenate(near))[rank])
    return prefix


def _within(numbers: NDArray[np.uint64], prefix: int, shift: int) -> NDArray[np.uint64]:
    """The numbers that begin with these digits."""
    return numbers if shift == _BITS else numbers[(numbers >> np.uint64(shift)) == prefix]


def sortable(values: NDArray[np.float64]) -> NDArray[np.uint64]:
    """Finite floats as integers of the same order.

    Args:
        values: float64 [n].

    Returns:
        uint64 [n].
    """
    bits = np.ascontiguousarray(values + 0.0).view(np.uint64)  # −0 becomes 0
    sign = np.uint64(1 << 63)
    return np.where(bits & sign, ~bits, bits | sign)
