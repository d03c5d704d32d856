"""A slow reader of logs, which goes line by line and takes nothing but what a person would take for a value."""

from __future__ import annotations

import re
from dataclasses import dataclass

from benchmarks.fuzzing.small_logs import BLANKS, BadError, Log, Row

_INTEGER = re.compile(r"-?[0-9]+")
_LINE_END = re.compile(rb"\r\n|\r|\n")


@dataclass(frozen=True, slots=True)
class Found:
    """What a reader made of a log."""

    rows: list[Row]
    rejected: int
    doubtful: int = 0
    """Lines that the slow reader does not decide about: they hold quotation marks."""


def read_slowly(log: Log, data: bytes, *, integers: tuple[bool, bool]) -> Found | None:
    """The rows that the bytes of a log say.

    Args:
        log: Its format.
        data: Its bytes, damaged or not.
        integers: Whether ids of users and of items are integers.

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
    found = Found([], 0)
    rejected = doubtful = 0
    for line in lines:
        if log.quoted and b'"' in line:
            doubtful += 1
            continue
        try:
            found.rows.append(_row(log, line, integers))
        except BadError:
            rejected += 1
    return Found(found.rows, rejected, doubtful)


def _row(log: Log, line: bytes, integers: tuple[bool, bool]) -> Row:
    fields = line.split(log.delimiter.encode())
    width = len(log.lines[0].split(log.delimiter))
    # Where two colons separate, a single one is a slip.
    stray = log.delimiter == "::" and b":" in b"".join(fields)
    if stray or len(fields) != width:
        raise BadError
    texts = [""] * width
    for place in log.used:
        try:
            texts[place] = fields[place].decode()
        except UnicodeDecodeError:
            raise BadError from None
        if "\x1a" in texts[place]:  # stands for what is no text
            raise BadError
    ids = [_id(texts[place], integer) for place, integer in zip((log.user, log.item), integers, strict=True)]
    return ids[0], ids[1], log.label(texts)


def _id(text: str, integer: bool) -> str:
    if not text:
        raise BadError
    if not integer:
        return text
    text = text.strip(BLANKS)
    if not _INTEGER.fullmatch(text) or not 0 <= int(text) < 2**63:
        raise BadError
    return str(int(text))


def split_lines(data: bytes) -> list[bytes]:
    """The lines of a file that hold anything, without the mark of its encoding."""
    return [line for line in _LINE_END.split(data.removeprefix(b"\xef\xbb\xbf")) if line]
