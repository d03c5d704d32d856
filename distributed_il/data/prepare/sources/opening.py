"""Opens the files of a source: what each is, which of its columns are read, and how its ids are."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from distributed_il.core.errors import UserError
from distributed_il.data.dataset import Manifest
from distributed_il.data.prepare.config import PrepareConfig
from distributed_il.data.prepare.sources.columns_of_file import choose_columns
from distributed_il.data.prepare.sources.file_pieces import open_pieces
from distributed_il.data.prepare.sources.files import RawFile, RawSource, is_alone
from distributed_il.data.prepare.sources.ids import IdType
from distributed_il.data.prepare.sources.list_pieces import ListPieces
from distributed_il.data.prepare.sources.pieces import EmptyFileError, RawPieces
from distributed_il.data.prepare.sources.read_stats import ReadStats
from distributed_il.data.prepare.sources.reader import OpenFile, RawReader
from distributed_il.data.prepare.sources.rejects import Rejects
from distributed_il.data.prepare.sources.text_options import TextOptions


def open_source(config: PrepareConfig, source: RawSource, parent: Manifest | None = None) -> RawReader:
    """Looks at the columns of all files and returns a reader of their rows; the types of a parent's ids hold.

    Raises:
        UserError: A column is missing or twice there, or a file can't be read.
    """
    pieces, headers = _opened(config, source)
    rule, choices = choose_columns(config, pieces, headers, {} if parent is None else parent.reading.columns)
    left_aside: dict[str, list[str]] = {}
    for file, header in headers.items():
        passed_over = {*choices[file].columns.values(), *pieces[file].keys}
        rest = [name for name in header if name not in passed_over]
        if rest and choices[file].log.layout is None:
            left_aside[file.name] = rest
    rows = [of_file.num_rows() for of_file in pieces.values()]
    files = [OpenFile(file, pieces[file], choices[file]) for file in headers]
    total = sum(rows) if all(rows) else 0
    id_types: dict[str, IdType] = dict.fromkeys(("user", "item"), config.id_type)
    if parent is not None:
        by = parent.id_rule if config.id_type == "auto" else config.id_type
        id_types = {name: _of_parent(kind, by) for name, kind in parent.id_type.items()}
    stats = ReadStats(Rejects(config.max_reject_share))
    return RawReader(config, rule, left_aside, total, files, len(source.files) - len(files), stats, id_types)


def _opened(config: PrepareConfig, source: RawSource) -> tuple[dict[RawFile, RawPieces], dict[RawFile, list[str]]]:
    """Opens the files that are not empty, and reads the names of their columns."""
    options = TextOptions.of(config)
    pieces: dict[RawFile, RawPieces] = {}
    headers: dict[RawFile, list[str]] = {}
    for file in source.files:
        of_file = open_pieces(source.filesystem, file, options)
        try:
            headers[file] = of_file.columns()
        except EmptyFileError:
            if is_alone(file, source.files) or (not headers and file is source.files[-1]):
                raise
        else:
            pieces[file] = of_file
    _require_alike(pieces)
    if any(isinstance(of_file, ListPieces) for of_file in pieces.values()):
        # Beside lists, integers of one number in each line are lists too.
        for file, of_file in pieces.items():
            if of_file.has_header is False:
                pieces[file] = open_pieces(source.filesystem, replace(file, format="adjacency"), options)
                headers[file] = pieces[file].columns()
                pieces[file].note = f"{file.name}: no header; each line is a user and their items"
    return pieces, headers


def _require_alike(pieces: Mapping[RawFile, RawPieces]) -> None:
    """Raises `UserError` where some files have a header and others seem to have none."""
    by_header = {of_file.has_header: file.name for file, of_file in pieces.items() if of_file.has_header is not None}
    if len(by_header) > 1:
        raise UserError(
            f"{by_header[True]} has a header, and the first line of {by_header[False]} is a row; write all files "
            "alike, or give --no_header=false if it does name columns"
        )


def _of_parent(kind: str, rule: str) -> IdType:
    """Returns how a log's ids are read that go on from a dataset with ids of this type, by the rule of either."""
    if rule == "string":
        return "string"
    if kind == "string":
        return "text"
    return "integer" if rule == "integer" else "plain"
