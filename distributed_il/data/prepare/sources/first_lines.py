"""Looks at the first lines of a text file of the user's own: what parts its fields, and whether they name columns."""

from __future__ import annotations

import codecs
import csv
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace

import pyarrow.fs as pafs

from distributed_il.core.errors import UserError
from distributed_il.data.prepare.sources.files import RawFile
from distributed_il.data.prepare.sources.known_logs import Layout
from distributed_il.data.prepare.sources.text_lines import open_text
from distributed_il.data.prepare.sources.text_options import VALUE, TextOptions

_BYTES = 1 << 16
_DELIMITERS = ("\t", ",", "::", "||", ";", "|", " ")
"""Tried in this order where the one that the file's name tells does not occur."""
_DELIMITER_LINES = 20
_VALUE = re.compile(r"\s*([+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?|\d{4}[-/.]\d\d[-/.]\d\d.*|\d\d?\.\d\d?\.\d{4}.*)\s*")
"""A number or a date; names of columns are none."""
_EARLIEST = 1e8
"""Seconds since 1970, of 1973; no rating is as high."""
_AMAZON = re.compile(r"(B[0-9A-Z]{9}|\d{9}[\dX]),A[0-9A-Z]{9,20}")
"""Item and user as Amazon wrote them in 2018, the item first; in 2014 the user came first."""
_LIST = re.compile(r"\s*((?P<colon>[^\s:,]+:(?!:)[^:]*)|\d+([\s,]+\d+)*)\s*")
_UNIFORM = 0.9
_SHOWN = 80


@dataclass(frozen=True, slots=True)
class FirstLook:
    """What the first lines of a text tell."""

    layout: Layout | None
    """Of delimited text; None for lists of items."""
    has_header: bool
    note: str = ""
    """A line for the user where it was not their word that decided."""


def look_at(fs: pafs.FileSystem, file: RawFile, layout: Layout, options: TextOptions) -> FirstLook:
    """Looks at a file that should have a header and the layout that its name, or the user, tells.

    Raises:
        UserError: It can't be read, or it is not clear what its first line is.
    """
    lines = _read(fs, file, options.encoding)
    if not lines:
        return FirstLook(layout, has_header=layout.columns is None)
    if options.delimiter is None and options.columns is None and options.no_header is None and _are_lists(lines):
        return FirstLook(None, False, f"{file.name}: no header; each line is a user and their items")
    note = ""
    if options.delimiter is None:
        delimiter = _delimiter(lines, layout.delimiter)
        if delimiter != layout.delimiter:
            note = f"fields are parted by {delimiter!r}"
        layout = replace(layout, delimiter=delimiter)
    fields = [_fields(line, layout) for line in lines]
    names = _names(file, fields, options)
    if names is None:
        return FirstLook(layout, True, f"{file.name}: {note}" if note else "")
    if options.columns is None:
        note = f"no header, its first line is a row; columns by position: {', '.join(names)}{'; ' * bool(note)}{note}"
    return FirstLook(replace(layout, columns=names), False, f"{file.name}: {note}" if note else "")


def first_line(fs: pafs.FileSystem, file: RawFile, encoding: str | None) -> str:
    """Returns the first line that is not blank, or as much of it as is read at a time; empty where there is none.

    Raises:
        UserError: The file can't be read.
    """
    return next(iter(_read(fs, file, encoding)), "")


def _read(fs: pafs.FileSystem, file: RawFile, encoding: str | None) -> list[str]:
    """Reads the first lines but blank ones; the last is left out where it may go on."""
    try:
        with open_text(fs, file.path, encoding) as stream:
            data: bytes = stream.read(_BYTES)
    except (OSError, UnicodeError) as error:
        raise UserError(f"{file.name} can't be read ({error}); copy it anew, or give its encoding") from error
    lines = re.split("\r\n|\r|\n", data.removeprefix(codecs.BOM_UTF8).decode(errors="replace"))
    if len(data) == _BYTES and len(lines) > 1:
        lines.pop()
    return [line for line in lines if line]


def _are_lists(lines: Sequence[str]) -> bool:
    """Returns whether each line is a user and their items: `u: i i i`, or integers whose number differs by line."""
    found = [_LIST.fullmatch(line) for line in lines]
    if not all(found):
        return False
    if all(match and match["colon"] for match in found):
        return True
    widths = Counter(len(re.findall(r"\d+", line)) for line in lines)
    return max(widths.values()) < _UNIFORM * len(lines)


def _delimiter(lines: Sequence[str], usual: str) -> str:
    if usual in lines[0]:
        return usual
    for delimiter in _DELIMITERS:
        counts = {line.count(delimiter) for line in lines[:_DELIMITER_LINES]}
        if len(counts) == 1 and counts != {0}:
            return delimiter
    return usual


def _fields(line: str, layout: Layout) -> list[str]:
    if len(layout.delimiter) == 1 and layout.quoted:
        return next(csv.reader([line], delimiter=layout.delimiter), [])
    return line.split(layout.delimiter)


def _names(file: RawFile, lines: Sequence[list[str]], options: TextOptions) -> tuple[str, ...] | None:
    """Returns the columns' names of a file without a header; None where it has one."""
    if options.columns is not None:
        return options.columns
    if options.no_header is False:
        return None
    if options.no_header:
        return _by_position(file, lines, options)
    first = lines[0]
    wanted = {options.alone} if options.alone and len(first) == 1 else {options.names["user"], options.names["item"]}
    counted = first == [str(n) for n in range(len(first))]
    if not _is_row(first, lines[1] if len(lines) > 1 else first):
        return None
    if wanted <= set(first):
        if counted or not any(_VALUE.fullmatch(name) for name in options.named & set(first)):
            return None
        cure = "; write a line of names above it, and name the columns as it does"
        if options.can_be_told:
            cure = (
                "; if it is one, give --no_header, and no names taken from it; if it does name the columns, give "
                "--no_header=false"
            )
        raise UserError(
            f"{file.name}: its first line ({_shown(first)}) looks like a row, and columns are named after it{cure}"
        )
    if counted:
        cure = "give --no_header" if options.can_be_told else "write a line of names above it"
        raise UserError(
            f"{file.name}: its first line ({_shown(first)}) may be a row or names; if it is a row, {cure}; if it names "
            "the columns, name them by the options: --user_column=0 --item_column=1"
        )
    return _by_position(file, lines, options)


def _is_row(first: list[str], second: list[str]) -> bool:
    """Returns whether the first line has values in the places in which the second has some."""
    if len(first) != len(second):
        return False
    kinds = [
        (bool(_VALUE.fullmatch(a)), bool(_VALUE.fullmatch(b))) for a, b in zip(first, second, strict=True) if a and b
    ]
    return any(a for a, _ in kinds) and all(a == b for a, b in kinds)


def _by_position(file: RawFile, lines: Sequence[list[str]], options: TextOptions) -> tuple[str, ...]:
    names, width = options.names, len(lines[0])
    value = names.get(VALUE, VALUE)
    if options.alone and width == 1:
        return (options.alone,)
    if width == 2:
        return names["user"], names["item"]
    if width == 3:
        timed = VALUE not in names and all(_is_time(line[2]) for line in lines if len(line) == 3)
        return names["user"], names["item"], names["time"] if timed else value
    if width == 4:
        pair = names["user"], names["item"]
        if all(len(line) == 4 and _AMAZON.fullmatch(",".join(line[:2])) for line in lines):
            pair = names["item"], names["user"]
        return *pair, value, names["time"]
    cure = "write a line of names above it"
    if options.can_be_told:
        cure = "name all columns in their order, such as --columns='[user, item, rating, other]', or give the delimiter"
    raise UserError(
        f"{file.name} has no header, its first line ({_shown(lines[0])}) is a row of {width} fields; by position at "
        f"most user, item, rating or label, and timestamp are told: {cure}"
    )


def _is_time(text: str) -> bool:
    try:
        return float(text) >= _EARLIEST
    except ValueError:
        return _VALUE.fullmatch(text) is not None


def _shown(fields: Sequence[str]) -> str:
    text = ",".join(fields)
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}…"
