"""Reads times, of which only the order matters: numbers, timestamps, and dates as text."""

from __future__ import annotations

from collections.abc import Iterator
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

_PROBLEM = (
    "a time is a number, or a date: 2020-07-05, 2020/07/05 or 05.07.2020, alone or with 05:27:48, or Sun Jul 05 "
    "05:27:48 +0000 2020; all with a zone, such as Z or +02:00, or none; correct it or remove the row"
)
_TO_ISO = (
    (r"^\s*(\d{4})/(\d{2})/(\d{2})", r"\1-\2-\3"),
    (r"^\s*(\d{2})\.(\d{2})\.(\d{4})", r"\3-\2-\1"),
    (r" ?(UTC|GMT)\s*$", "Z"),
    (r" ([+-]\d{2}:?\d{2})\s*$", r"\1"),
)
"""What is rewritten to a date of ISO 8601; with points the day comes first, and with slashes it may not."""
_WITH_NAMES = "%a %b %d %H:%M:%S %z %Y"
"""As Twitter and Foursquare write dates."""


def read_times(column: pa.Array) -> pa.Array:
    """Converts times, of which only the order matters, to timestamps, int64 or float64 without nulls.

    They are finite numbers, timestamps, or text that holds numbers or dates such as `2020-07-05 05:27:48`. Timestamps
    come in nanoseconds where all of these can be told so, else in microseconds; dates of text that have a zone come
    with UTC for theirs.

    Raises:
        BadValueError: A moment is missing or can't be read.
    """
    if pa.types.is_timestamp(column.type) or pa.types.is_date(column.type):
        refuse(pc.is_null(column), column, _PROBLEM)
        return _moments(column)
    zone = _zone_of_first_date(column)
    if zone is not None:
        refuse(pc.is_null(column), column, _PROBLEM)
        moments = _dates(column, zone)
        if moments is None:
            refuse_unreadable(column, partial(_dates, zone=zone), _PROBLEM)
        return moments
    numbers = _integers(column)
    return finite(column, _PROBLEM) if numbers is None else numbers


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


def _zone_of_first_date(column: pa.Array) -> str | None:
    """Returns the zone, `UTC` or none, of the first text that is a finite number or a date; None if it is no date."""
    if not is_text(column.type):
        return None
    # Of many rows without a time most say so alike: each text is looked at once, in the order of the rows.
    texts = pc.unique(column)
    for place in range(len(texts)):
        one = texts.slice(place, 1)
        number = parsed(one, pa.float64())
        if number is not None and pc.is_finite(number[0]).as_py():
            return None
        for zone in ("", "UTC"):
            if number is None and _dates(one, zone) is not None:
                return zone
    return None


def _dates(column: pa.Array, zone: str) -> pa.Array | None:
    """Reads dates, all of which have a zone, or none where it is empty; None where one can't be read so."""
    for text in _written(column):
        for unit in ("ns", "us"):
            moments = parsed(text, pa.timestamp(unit, zone or None))
            if moments is not None:
                return moments
    try:
        return pc.strptime(column, _WITH_NAMES, "us") if zone else None
    except pa.ArrowInvalid:
        return None


def _written(column: pa.Array) -> Iterator[pa.Array]:
    """Yields the text as it is, and rewritten to ISO 8601."""
    yield column
    for pattern, form in _TO_ISO:
        column = pc.replace_substring_regex(column, pattern, form)
    yield column


def without_zone(times: pa.Array) -> pa.Array:
    """Returns times as of `read_times`, those with a zone as timestamps without one."""
    if not pa.types.is_timestamp(times.type) or times.type.tz is None:
        return times
    return times.cast(pa.timestamp(times.type.unit))
