"""Files of pairs in external ids, cut into pieces that are read one by one."""

from __future__ import annotations

import posixpath
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import pyarrow.fs as pafs

from distributed_il.core.errors import UserError
from distributed_il.data.prepare.sources.column_names import shown_names
from distributed_il.data.prepare.sources.file_names import fits, format_of_name, in_partitions, plain_format_of
from distributed_il.data.prepare.sources.file_pieces import open_pieces
from distributed_il.data.prepare.sources.files import RawFile, find_place, require_file_or_directory
from distributed_il.data.prepare.sources.pieces import Part, RawPieces
from distributed_il.data.prepare.sources.text_options import VALUE, TextOptions

_PAIR = 2
PIECE_ROWS = 262_144
"""Rows of a piece of Parquet, at least, but for the last one of a file."""
PIECE_BYTES = 8 << 20
"""Bytes of a piece of text."""


@dataclass(frozen=True, slots=True)
class PairFiles:
    """Files of pairs."""

    columns: tuple[str, ...]  # names of the columns to read
    files: tuple[tuple[str, int, int], ...]  # path, size and time of each, which tell whether it is still the same
    pieces: tuple[tuple[RawPieces, Part], ...]  # of all files, in order: each a part of a file


def find_pairs(
    source: str,
    columns: Sequence[str],
    first: str | None = None,
    last: str | None = None,
    name_of: Callable[[str], str | None] = lambda name: None,
    has_names: bool = False,
    say: Callable[[str], None] = lambda line: None,
) -> PairFiles:
    """Looks at the files, and checks that each has the columns.

    Args:
        source: A file, a directory of files or a pattern, as a path or a pyarrow URI: Parquet, JSON Lines, or text, its
            fields parted by commas, or by tabs where its name ends in .tsv, .txt or .inter, which may be compressed.
        columns: Names of the columns to read.
        first: One more, in front of them, if a file has it; then all have to.
        last: Likewise, behind them.
        name_of: Told a name that no file has, may know another one for that column.
        has_names: Whether text has to name its columns; else, where its first line is a row, these columns go by their
            position: user, item, and perhaps a label and a time, or ids alone.
        say: Told of each file that has no names.

    Raises:
        UserError: There is no such file, it can't be read, or a column is missing or not of plain values.
    """
    fs, infos = _found(source)
    roles = None if has_names else [name for name in (first, *columns, last) if name]
    files = [_opened(fs, info.path, roles, len(columns) == 1, name_of) for info in infos]
    names = [file.columns() for file in files]
    there = [name for found in names for name in found]
    wanted = [_there(name, there, name_of) for name in columns]
    before, behind = (_those_of(there, name and _there(name, there, name_of)) for name in (first, last))
    columns = [*before, *wanted, *behind]
    for file in files:
        if file.has_header is False:
            say(file.note)
    pieces: list[tuple[RawPieces, Part]] = []
    for info, file, found in zip(infos, files, names, strict=True):
        _require_columns(info.path, found, columns)
        file.require_plain(columns)
        pieces += [(file, part) for part in file.parts(PIECE_ROWS, PIECE_BYTES)]
    if not pieces:
        raise UserError(f"{source} holds no rows; give a file with rows")
    told = tuple((info.path, info.size, int(info.mtime_ns or 0)) for info in infos)
    return PairFiles(tuple(columns), told, tuple(pieces))


def _opened(
    fs: pafs.FileSystem, path: str, roles: Sequence[str] | None, alone: bool, name_of: Callable[[str], str | None]
) -> RawPieces:
    """Opens a file whose columns, in the order of user, item and label, are `roles`; None where it names them itself.

    Raises:
        UserError: It can't be read, or it is not clear what its first line is.
    """
    file = RawFile("all", path, path, plain_format_of(path))
    named = open_pieces(fs, file, TextOptions(no_header=False))
    if roles is None or named.has_header is None:
        return named
    found = named.columns()
    names = [_there(name, found, name_of) for name in roles]
    by_place = {"user": names[0], "item": names[min(1, len(names) - 1)], "time": "timestamp"}
    alone_as = names[-1] if alone else None
    options = TextOptions(names=by_place, named=frozenset(names), alone=alone_as, can_be_told=False)
    pieces = open_pieces(fs, file, options)
    if len(names) > _PAIR and pieces.has_header is False and VALUE in pieces.columns():
        pieces = open_pieces(fs, file, replace(options, names=by_place | {VALUE: names[_PAIR]}))
    if pieces.has_header is False and len(roles) == 1 and len(pieces.columns()) > 1:
        raise UserError(
            f"{path} has no header, and its first line is a row of several fields; write ids alone, one in a line, or "
            "a line of names above it"
        )
    return pieces


def _found(source: str) -> tuple[pafs.FileSystem, list[pafs.FileInfo]]:
    fs, root, pattern = find_place(source)
    infos = [fs.get_file_info(root)]
    if infos[0].type == pafs.FileType.NotFound:
        raise UserError(f"{source} does not exist; give a Parquet or CSV file, or a directory of such")
    require_file_or_directory(infos[0], source)
    if infos[0].type == pafs.FileType.Directory:
        listed = fs.get_file_info(pafs.FileSelector(root, recursive=True))
        files = sorted((info for info in listed if info.type == pafs.FileType.File), key=lambda info: info.path)
        if pattern:
            infos = [info for info in files if fits(posixpath.relpath(info.path, root), pattern)]
        else:
            infos = [
                info for info in files if in_partitions(posixpath.relpath(info.path, root)) and _holds_pairs(info.path)
            ]
    if not infos or not all(_holds_pairs(info.path) for info in infos):
        raise UserError(
            f"{source}: the name tells no format; give files that end in .parquet, .pq, .csv, .tsv, .txt, .inter or "
            ".jsonl, all but the first two also compressed"
        )
    return fs, infos


def _holds_pairs(path: str) -> bool:
    hidden = posixpath.basename(path).startswith(("_", "."))
    return not hidden and format_of_name(path) in ("parquet", "csv", "recbole", "json")


def _there(name: str, found: list[str], name_of: Callable[[str], str | None]) -> str:
    """Returns the name, or another one of that column if only that is there."""
    other = None if name in found else name_of(name)
    return other if other in found else name


def _those_of(found: list[str], name: str | None) -> list[str]:
    return [name] if name in found else []


def _require_columns(path: str, found: list[str], columns: Sequence[str]) -> None:
    for name in columns:
        if found.count(name) != 1:
            state = "has no column" if name not in found else f"has {found.count(name)} columns called"
            raise UserError(
                f"{path} {state} {name!r}, only {shown_names(found)}; name its columns by the options, or if its first "
                "line is a row, write a line of names above it"
            )
