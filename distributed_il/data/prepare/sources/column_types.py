"""Converts raw columns into labels, times and the like, and finds values that can't be converted."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, NoReturn

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from distributed_il.core.arrow_compute import pc
from distributed_il.core.errors import UserError
from distributed_il.data.prepare.sources.column_names import shown

Reader = Callable[[pa.Array], pa.Array]
"""Checks and converts one raw column."""
NULL_WORDS = ("", "null", "NULL", "none", "None", "nan", "NaN", "NA")
"""Texts of a missing value."""


class BadValueError(Exception):
    """A value that can't be used; the caller, who knows the file, makes the message of it."""

    def __init__(
        self, row: int, value: object, problem: str, all_rows: Callable[[], NDArray[np.int64]] | None = None
    ) -> None:
        super().__init__(problem)
        self.row = row
        """Row in the piece that was being read, from 0."""
        self.value = value
        self.problem = problem
        """What is wrong with it, and the cure."""
        self.all_rows = all_rows
        """Finds all rows of the piece with this problem, ascending; None where the whole column is the problem."""

    def at(self, place: str, column: str) -> UserError:
        """Returns the error for the user, with file and line, and the raw name of the column."""
        return UserError(f"{place}, column {column}: {shown(self.value)}: {self.problem}")


def read_labels(column: pa.Array) -> pa.Array:
    """Converts labels, 0, 1 or null as integers, booleans, floats or text, true and false too, to int8 with nulls.

    Raises:
        BadValueError: Another value.
    """
    problem = "a label is 0, 1 or missing; correct it, or set rule to rating if these are ratings"
    numbers = _numbers(column, problem, truth=True)
    refuse(pc.invert(_binary(numbers)), column, problem)
    return numbers.cast(pa.int8())


def read_categories(column: pa.Array) -> pa.Array:
    """Converts categorical values, text, whole numbers or booleans, to strings; null where missing or empty text.

    Raises:
        BadValueError: A number is not whole, or the column holds something else.
    """
    if pa.types.is_dictionary(column.type):
        column = column.dictionary_decode()
    if pa.types.is_floating(column.type):
        # pandas makes floats of whole numbers of which one is missing.
        column = _numbers(column, "")
        whole = pc.and_(pc.equal(pc.trunc(column), column), pc.less(pc.abs(column), 2.0**53))
        refuse(pc.invert(whole), column, "a category is text or a whole number; cut numbers like this into classes")
        column = column.cast(pa.int64())
    kind = column.type
    if is_text(kind):
        return pc.if_else(pc.equal(column, ""), pa.scalar(None, kind), column).cast(pa.string())
    if pa.types.is_integer(kind) or pa.types.is_boolean(kind) or pa.types.is_null(kind):
        return column.cast(pa.string())
    raise BadValueError(0, first_value(column), f"the column is of type {kind}; a category is text or a whole number")


def read_flags(column: pa.Array) -> pa.Array:
    """Converts flags, 0 or 1 as integers, booleans, floats or text, true and false too, to bool without nulls.

    Raises:
        BadValueError: Another value, or none.
    """
    problem = "it is 0 or 1; correct it or remove the row"
    numbers = _numbers(column, problem, truth=True)
    refuse(pc.invert(pc.fill_null(_binary(numbers), False)), column, problem)
    return numbers.cast(pa.bool_())


def read_amounts(column: pa.Array, *, optional: bool = False) -> pa.Array:
    """Converts durations and ratios, or text that holds such, to float64, with nulls only where they are `optional`.

    Raises:
        BadValueError: A value is negative, not a finite number, or missing and not optional.
    """
    problem = "it is a finite number from 0 up; correct it or remove the row"
    numbers = _numbers(column, problem)
    good = pc.and_(pc.is_finite(numbers), pc.greater_equal(numbers, 0.0))
    refuse(pc.invert(pc.fill_null(good, optional)), column, problem)
    return numbers


def read_ratings(column: pa.Array, positive_above: float, negative_below: float | None = None) -> pa.Array:
    """Turns ratings, or text that holds such, into labels, int8: 1 above the one threshold, 0 below the other.

    What lies between them is null, unclear; without `negative_below` all that is not positive is 0.

    Raises:
        BadValueError: A rating is missing or not a finite number.
    """
    ratings = finite(column, "a rating is a finite number; correct it or remove the row")
    positive = pc.greater(ratings, positive_above)
    if negative_below is not None:
        clear = pc.or_(positive, pc.less(ratings, negative_below))
        positive = pc.if_else(clear, positive, pa.scalar(None, pa.bool_()))
    return positive.cast(pa.int8())


def only_binary(column: pa.Array) -> bool:
    """Returns whether no value but 0, 1 and missing occurs."""
    text = _without_null_words(column)
    numbers = parsed(text, pa.float64())
    if numbers is None:
        numbers = parsed(_without_truth_words(text), pa.float64())
    return numbers is not None and bool(pc.all(_binary(numbers), min_count=0).as_py())


def read_weights(column: pa.Array) -> pa.Array:
    """Converts weights of rows to float32.

    Raises:
        BadValueError: A weight is missing, no number, or as float32 not finite or not above 0.
    """
    problem = "a weight is a finite number above 0; correct it or remove the row"
    weights = _numbers(column, problem).cast(pa.float32(), safe=False)
    good = pc.and_(pc.is_finite(weights), pc.greater(weights, pa.scalar(0.0, pa.float32())))
    refuse(pc.invert(pc.fill_null(good, False)), column, problem)
    return weights


def read_preferences(column: pa.Array) -> pa.Array:
    """Converts true preferences to float32.

    Raises:
        BadValueError: A value is missing or no number.
    """
    problem = "a preference is a finite number; correct it, or name another preference_column"
    return finite(column, problem).cast(pa.float32(), safe=False)


def finite(column: pa.Array, problem: str) -> pa.Array:
    """Reads numbers, float64, none of which is missing, infinite or NaN."""
    numbers = _numbers(column, problem)
    refuse(pc.invert(pc.fill_null(pc.is_finite(numbers), False)), column, problem)
    return numbers


def _numbers(column: pa.Array, problem: str, *, truth: bool = False) -> pa.Array:
    """Reads numbers, float64; with `truth` the words true and false are 1 and 0."""
    kind = column.type
    if is_text(kind):
        text = _without_null_words(column)
        numbers = parsed(text, pa.float64())
        if numbers is None and truth:
            text = _without_truth_words(text)
            numbers = parsed(text, pa.float64())
        if numbers is None:
            refuse_unreadable(text, partial(parsed, kind=pa.float64()), problem)
        return numbers
    if pa.types.is_null(kind):
        return pa.nulls(len(column), pa.float64())
    if not (pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_boolean(kind)):
        raise BadValueError(0, first_value(column), f"the column is of type {kind}; {problem}")
    if pa.types.is_boolean(kind):
        column = column.cast(pa.int8())
    numbers = column.cast(pa.float64(), safe=False)
    # pandas writes a missing number as NaN.
    return pc.if_else(pc.fill_null(pc.is_nan(numbers), True), pa.scalar(None, pa.float64()), numbers)


def is_text(kind: pa.DataType) -> bool:
    """Returns whether values of this type are text."""
    return pa.types.is_string(kind) or pa.types.is_large_string(kind)


def _without_null_words(column: pa.Array) -> pa.Array:
    if not is_text(column.type):
        return column
    missing = pc.is_in(column, pa.array(NULL_WORDS, column.type))
    return pc.if_else(missing, pa.scalar(None, column.type), column)


def _without_truth_words(column: pa.Array) -> pa.Array:
    """Writes true and false of any case as 1 and 0."""
    if not is_text(column.type):
        return column
    for word, digit in (("true", "1"), ("false", "0")):
        column = pc.if_else(pc.match_substring_regex(column, f"^{word}$", ignore_case=True), digit, column)
    return column


def _binary(numbers: pa.Array) -> pa.Array:
    """Tells which numbers are 0 or 1; null where there is none. To `is_in`, −0 would not be 0."""
    return pc.or_(pc.equal(numbers, 0.0), pc.equal(numbers, 1.0))


def parsed(column: pa.Array, kind: pa.DataType) -> pa.Array | None:
    """Converts text to a type, with or without the blanks around it; None where a value can't be."""
    for prepared in (lambda: column, lambda: pc.ascii_trim_whitespace(column)):
        try:
            found = prepared().cast(kind)
        except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
            continue
        # Arrow takes 0x10 for 16; in a log it is a slip.
        if pa.types.is_integer(kind) and pc.any(pc.match_substring(column, "x", ignore_case=True)).as_py():
            return None
        return found
    return None


def parsed_integers(column: pa.Array) -> pa.Array | None:
    """Converts text to int64 by its value, 007 and ` 7` to 7; None where a value is no integer."""
    return parsed(column, pa.int64())


def refuse_unreadable(column: pa.Array, read: Callable[[pa.Array], pa.Array | None], problem: str) -> NoReturn:
    """Refuses the values of a column that can't be read; `read` returns None where one is among those it is given."""
    row = next(_unreadable(column, read, 0))
    raise BadValueError(
        row, column[row].as_py(), problem, lambda: np.fromiter(_unreadable(column, read, 0), dtype=np.int64)
    )


def _unreadable(column: pa.Array, read: Callable[[pa.Array], pa.Array | None], first: int) -> Iterator[int]:
    """Yields the rows that can't be read, found by halving."""
    if read(column) is not None:
        return
    if len(column) == 1:
        yield first
        return
    middle = len(column) // 2
    yield from _unreadable(column.slice(0, middle), read, first)
    yield from _unreadable(column.slice(middle), read, first + middle)


def refuse(wrong: pa.Array, column: pa.Array, problem: str) -> None:
    """Refuses the values of a column that are marked as `wrong`, bool [n], where there are any."""
    row = pc.index(wrong, pa.scalar(True)).as_py()
    if row >= 0:
        raise BadValueError(
            row,
            column[row].as_py(),
            problem,
            lambda: np.flatnonzero(pc.fill_null(wrong, False).to_numpy(zero_copy_only=False)),
        )


def first_value(column: pa.Array) -> Any:
    """Returns the first value of a column, for messages; None where there is none."""
    return column[0].as_py() if len(column) else None
