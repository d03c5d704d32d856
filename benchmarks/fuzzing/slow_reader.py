"""A slow reader of logs, which goes line by line and takes nothing but what a person would take for a value."""

from __future__ import annotations

import re
from dataclasses import dataclass

from benchmarks.fuzzing.small_logs import BLANKS, NULLS, BadError, Log, Row

_INTEGER = re.compile(r"0|-?[1-9][0-9]*")
_ROUNDED = re.compile(r"[0-9]+(\.[0-9]+[eE][+-]?|[eE]\+)[0-9]+")
_LINE_END = re.compile(rb"\r\n|\r|\n")


@dataclass(frozen=True, slots=True)
class Found:
    """What a reader made of a log."""

    rows: list[Row]
    rejected: int
    doubtful: int = 0
    """Lines that the slow reader does not decide about: they hold quotation marks."""


def read_slowly(log: Log, data: bytes, *, integers: tuple[bool, bool] | None = None) -> Found | None:
    """The rows that the bytes of a log say.

    Args:
        log: Its format.
        data: Its bytes, damaged or not.
        integers: Whether ids of users and of items are integers; None where the whole columns tell.

    Returns:
        Them; None where the header is not what it was, so that an error is due.
    """
    lines = split_lines(data)
    header = log.header.encode()
    if log.format == "tenrec":
        # Read by position: a first line that does not name the columns is a row, and a bad one.
        if lines and lines[0][: len(b"user_id")].lower() == b"user_id":
            lines = lines[1:]
    elif header:
        if not lines or lines[0] != header:
            return None
        lines = lines[1:]
    rows: list[Row] = []
    rejected = doubtful = 0
    for line in lines:
        if log.quoted and b'"' in line:
            doubtful += 1
            continue
        try:
            rows.append(_row(log, line))
        except BadError:
            rejected += 1
    if log.integer_ids:
        integers = (True, True)
    good = _with_ids(rows, integers)
    return Found(good, rejected + len(rows) - len(good), doubtful)


def _row(log: Log, line: bytes) -> Row:
    """A line with the text of its ids."""
    fields = line.split(log.delimiter.encode())
    width = len(log.lines[0].split(log.delimiter))
    # Separators of several characters are read as ASCII's unit separator, which no field holds then.
    if len(fields) != width or (len(log.delimiter) > 1 and b"\x1f" in line):
        raise BadError
    texts = [""] * width
    for place in log.used:
        try:
            texts[place] = fields[place].decode()
        except UnicodeDecodeError:
            raise BadError from None
        if "\x1a" in texts[place]:  # stands for what is no text
            raise BadError
    if any(texts[place].strip(BLANKS) in NULLS for place in (log.user, log.item)):
        raise BadError
    return texts[log.user], texts[log.item], log.label(texts)


def _with_ids(rows: list[Row], integers: tuple[bool, bool] | None) -> list[Row]:
    """The rows whose ids are some, by what the columns of all of these say; another row less may make another kind."""
    while True:
        columns = ([row[0] for row in rows], [row[1] for row in rows])
        kinds = [column_is_integer(column) for column in columns] if integers is None else integers
        ids = [
            [_id(text, column, integer=kind) for text in column] for column, kind in zip(columns, kinds, strict=True)
        ]
        both = list(zip(*ids, rows, strict=True))
        good = [(user, item, row[2]) for user, item, row in both if user is not None and item is not None]
        if len(good) == len(rows):
            return good
        rows = [row for user, item, row in both if user is not None and item is not None]


def column_is_integer(column: list[str]) -> bool:
    """Whether each text is written as its integer, or each as a float of one is."""
    return all(map(_plain, column)) or _as_floats(column)


def _as_floats(column: list[str]) -> bool:
    return all(text.endswith(".0") and _plain(text[:-2]) and abs(int(text[:-2])) < 2**53 for text in column)


def _plain(text: str) -> bool:
    return _INTEGER.fullmatch(text) is not None and -(2**63) <= int(text) < 2**63


def _id(text: str, column: list[str], *, integer: bool) -> str | None:
    if not integer:
        return None if _ROUNDED.fullmatch(text) else text
    if _as_floats(column):
        text = text[:-2]
    return text if _plain(text) and not text.startswith("-") else None


def split_lines(data: bytes) -> list[bytes]:
    """The lines of a file that hold anything, without the mark of its encoding."""
    return [line for line in _LINE_END.split(data.removeprefix(b"\xef\xbb\xbf")) if line]
