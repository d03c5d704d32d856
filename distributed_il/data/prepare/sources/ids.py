"""Reads external ids so that two that are written differently are never made one."""

from __future__ import annotations

from typing import Literal

import pyarrow as pa

from distributed_il.core.arrow_compute import pc
from distributed_il.data.prepare.sources.column_types import (
    NULL_WORDS,
    BadValueError,
    first_value,
    is_text,
    parsed_integers,
    refuse,
    refuse_unreadable,
)

IdType = Literal["auto", "plain", "written", "text", "integer", "string"]
"""How ids are read. `auto`: text whose every value is a plain integer becomes integers, other text stays as it is;
`plain`: integers, and another text is a mistake; `written`: as `plain`, and 7.0 is a mistake too; `text`: as it stands,
where words of a missing value are none; `integer`: by their value, so that 007 is 7; `string`: as it stands, whatever
it is."""
_MISSING = "the id is missing; fill it in or remove the row"
_NO_INTEGER = (
    "it is no integer written plainly, without zeros or blanks before it, as ids are here; correct it, or set id_type, "
    "to integer if 007 is 7, to string if it is not"
)
_ROUNDED = r"^[0-9]+(\.[0-9]+[eE][+-]?|[eE]\+)[0-9]+$"
"""What spreadsheets make of long numbers, 1.23E+10; of hashes in hexadecimal none looks so."""
_EXACT = 2**53
"""Floats from here on do not tell integers apart."""


class OtherIdsError(Exception):
    """Ids are not what they seemed to be so far, so that all of the source has to be read anew."""

    def __init__(self, entity: str, id_type: IdType) -> None:
        super().__init__(entity, id_type)
        self.entity = entity
        """`user` or `item`."""
        self.id_type: IdType = id_type
        """How its ids are to be read."""


def read_ids(column: pa.Array, wanted: IdType, *, typed: bool = False) -> pa.Array:
    """Converts external ids, integers or strings, to int64 or string without nulls.

    Floats that are whole numbers are integers: pandas makes such of a column in which a value is missing.

    Args:
        column: Integers, floats or text, maybe dictionary-encoded.
        wanted: How they are read.
        typed: Whether the file itself says that text is text; `auto` then leaves it so.

    Raises:
        BadValueError: An id is missing or negative, was rounded by a spreadsheet, or is not what is wanted.
    """
    if pa.types.is_dictionary(column.type):
        column = column.dictionary_decode()
    textual = is_text(column.type)
    if pa.types.is_floating(column.type):
        column = _whole(column)
    elif not textual and not pa.types.is_integer(column.type):
        raise BadValueError(0, first_value(column), f"the column is of type {column.type}; ids are integers or strings")
    refuse(pc.is_null(column), column, _MISSING)
    if textual:
        column = column.cast(pa.string())
        _refuse_no_text(column, exactly=wanted == "string")
    if wanted == "string":
        return column.cast(pa.string())
    if wanted == "text" or (wanted == "auto" and textual and typed):
        return _text(column)
    numbers = _numbers(column, wanted) if textual else _cast(column)
    if numbers is None:
        return _text(column)
    refuse(pc.less(numbers, 0), numbers, "ids must not be negative; correct it, or set id_type to string")
    return numbers


def written_as_floats(column: pa.Array) -> bool:
    """Returns whether text, of which `plain_integers` has made integers, is written as floats are, 7.0."""
    return is_text(column.type) and pc.ends_with(column.slice(0, 1), ".0")[0].as_py()


def plain_integers(column: pa.Array) -> pa.Array | None:
    """Converts text to int64 where every value is written as that integer is: 7, not 07, +7, 7.0 or ` 7`.

    A column throughout in the way in which floats are written, 7.0, will do as well. None for any other.
    """
    numbers = _as_written(column)
    if numbers is None and len(column) and pc.all(pc.ends_with(column, ".0")).as_py():
        numbers = _as_written(pc.utf8_slice_codeunits(column, 0, -2))
        if numbers is not None and pc.any(pc.greater_equal(pc.abs_checked(numbers), _EXACT)).as_py():
            return None
    return numbers


def _as_written(column: pa.Array) -> pa.Array | None:
    try:
        numbers = column.cast(pa.int64())
    except pa.ArrowInvalid:
        return None
    return numbers if pc.all(pc.equal(numbers.cast(column.type), column), min_count=0).as_py() else None


def _numbers(column: pa.Array, wanted: IdType) -> pa.Array | None:
    read = {"integer": parsed_integers, "written": _as_written}.get(wanted, plain_integers)
    numbers = read(column)
    if numbers is None and wanted != "auto":
        problem = "it is no integer; correct it, or set id_type to string" if wanted == "integer" else _NO_INTEGER
        # Of text in which most is written plainly, what is written as a float is a mistake.
        refuse_unreadable(column, parsed_integers if wanted == "integer" else _as_written, problem)
    return numbers


def _refuse_no_text(column: pa.Array, *, exactly: bool) -> None:
    if exactly:
        refuse(pc.equal(column, ""), column, _MISSING)
    else:
        words = pa.array(NULL_WORDS, pa.string())
        missing = pc.is_in(pc.ascii_trim_whitespace(column), words)
        refuse(missing, column, f"{_MISSING}, or set id_type to string if it is one")
    broken = pc.match_substring_regex(column, "[\r\n]")
    refuse(broken, column, "the id goes over several lines, so a quotation mark is not closed; correct it")


def _text(column: pa.Array) -> pa.Array:
    if is_text(column.type):
        refuse(
            pc.match_substring_regex(column, _ROUNDED),
            column,
            "the id looks like a number that a spreadsheet has rounded, and then its digits are lost; write the log "
            "anew, or set id_type to string if it is an id",
        )
    return column.cast(pa.string())


def _whole(column: pa.Array) -> pa.Array:
    refuse(pc.fill_null(pc.is_nan(column), True), column, _MISSING)
    column = column.cast(pa.float64())
    good = pc.and_(pc.equal(pc.trunc(column), column), pc.less(pc.abs(column), float(_EXACT)))
    refuse(pc.invert(good), column, "an id is text or a whole number, as a float below 2**53; write ids as integers")
    return column.cast(pa.int64())


def _cast(column: pa.Array) -> pa.Array:
    try:
        return column.cast(pa.int64())
    except pa.ArrowInvalid:
        limit = pa.scalar(2**63 - 1, pa.uint64())
        refuse(pc.greater(column, limit), column, "the id is above 2**63 - 1; set id_type to string")
        raise
