"""Reads times, of which only the order matters: numbers, timestamps, and dates as text."""

from __future__ import annotations

from functools import partial

import pyarrow as pa

from distributed_il.core.arrow_compute import pc
from distributed_il.data.prepare.sources.column_types import (
    finite,
    is_text,
    parsed,
    parsed_integers,
    refuse,
    refuse_unreadable,
)


def read_times(column: pa.Array) -> pa.Array:
    """Converts times, of which only the order matters, to timestamps, int64 or float64 without nulls.

    They are finite numbers, timestamps, or text that holds numbers or dates such as `2020-07-05 05:27:48`. Timestamps
    come in nanoseconds where all of these can be told so, else in microseconds.

    Raises:
        BadValueError: A moment is missing or can't be read.
    """
    problem = "a time is a number or a date such as 2020-07-05 05:27:48; correct it or remove the row"
    if pa.types.is_timestamp(column.type) or pa.types.is_date(column.type):
        refuse(pc.is_null(column), column, problem)
        return _moments(column)
    if _holds_dates(column):
        refuse(pc.is_null(column), column, problem)
        moments = parsed(column, pa.timestamp("ns"))
        if moments is None:
            moments = parsed(column, pa.timestamp("us"))
        if moments is None:
            refuse_unreadable(column, partial(parsed, kind=pa.timestamp("us")), problem)
        return moments
    numbers = _integers(column)
    return finite(column, problem) if numbers is None else numbers


def _moments(column: pa.Array) -> pa.Array:
    moments = column.cast(pa.timestamp("us"), safe=False)
    far = pc.greater(pc.abs(moments.cast(pa.int64())), (2**63 - 1) // 1000)
    return moments if pc.any(far).as_py() else column.cast(pa.timestamp("ns"), safe=False)


def _integers(column: pa.Array) -> pa.Array | None:
    """Returns whole numbers as int64, exactly; None where not all are such, or one is missing."""
    if is_text(column.type):
        numbers = parsed_integers(column)
    elif pa.types.is_integer(column.type) and not pa.types.is_uint64(column.type):
        numbers = column.cast(pa.int64())
    else:
        return None
    return None if numbers is None or numbers.null_count else numbers


def _holds_dates(column: pa.Array) -> bool:
    """Returns whether the first text that is a finite number or a date is a date."""
    if not is_text(column.type):
        return False
    # Of many rows without a time most say so alike: each text is looked at once, in the order of the rows.
    texts = pc.unique(column)
    for place in range(len(texts)):
        one = texts.slice(place, 1)
        if any(parsed(one, pa.timestamp(unit)) is not None for unit in ("us", "ns")):
            return True
        number = parsed(one, pa.float64())
        if number is not None and pc.is_finite(number[0]).as_py():
            return False
    return False
