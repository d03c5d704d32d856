"""Reads a source piece by piece into tables of user, item, label, and tells where each row came from."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import partial
from typing import Literal

import pyarrow as pa

from distributed_il.errors import UserError
from distributed_il.prepare.columns import (
    BadValueError,
    IdType,
    Reader,
    only_binary,
    read_ids,
    read_labels,
    read_preferences,
    read_ratings,
)
from distributed_il.prepare.prepare_config import PrepareConfig
from distributed_il.prepare.raw_files import RawFile, RawSource
from distributed_il.prepare.raw_pieces import RawPieces

Rule = Literal["rating", "binary"]
"""How values become labels."""


@dataclass(frozen=True, slots=True)
class _File:
    """A raw file and what is read of it."""

    file: RawFile
    pieces: RawPieces
    columns: dict[str, str]
    """Raw name of each column read: user, item, label, and preference where it is read."""


@dataclass(slots=True)
class RawReader:
    """The rows of a source; `open_source` makes it."""

    config: PrepareConfig
    rule: Rule
    has_preference: bool
    """Whether there is a column of true preferences, which is so where every file has it."""
    left_aside: dict[str, list[str]]
    """Columns that are not read, by file."""
    num_rows: int
    """Rows in all; 0 where it takes reading the files to know."""
    _files: list[_File]
    _starts: list[tuple[int, _File]] = field(default_factory=list[tuple[int, _File]])
    _id_types: dict[str, IdType] = field(default_factory=dict[str, IdType])

    def tables(self) -> Iterator[tuple[str, pa.Table]]:
        """Reads everything once.

        Yields:
            Split (or `all`) and a piece of it: user and item int64 or string, label int8 with nulls, and where
            `has_preference`, preference float32.

        Raises:
            UserError: A file can't be read, or holds a bad value; with its line or row.
        """
        self._starts.clear()
        self._id_types = dict.fromkeys(("user", "item"), self.config.id_type)
        seen: dict[str, int] = {}
        for file in self._files:
            split, done = file.file.split, 0
            self._starts.append((seen.get(split, 0), file))
            for batch in file.pieces.read(list(file.columns.values())):
                yield split, self._table(file, batch, done)
                done += batch.num_rows
            if not done:
                raise UserError(f"{file.file.name} holds no rows; give a file with rows")
            seen[split] = seen.get(split, 0) + done

    def locate(self, split: str, row: int) -> str:
        """Where the row of that number, from 0, among those read of a split stands: file and line."""
        candidates = [(start, file) for start, file in self._starts if file.file.split == split and start <= row]
        start, file = candidates[-1]
        return file.pieces.place(row - start)

    def _table(self, file: _File, batch: pa.RecordBatch, done: int) -> pa.Table:
        readers: dict[str, Reader] = {
            "user": partial(self._ids, "user"),
            "item": partial(self._ids, "item"),
            "label": read_labels
            if self.rule == "binary"
            else partial(read_ratings, positive_above=self.config.positive_above),
            "preference": read_preferences,
        }
        converted: dict[str, pa.Array] = {}
        for name, raw in file.columns.items():
            try:
                converted[name] = readers[name](batch.column(raw))
            except BadValueError as error:
                place = file.pieces.place(done + error.row)
                raise UserError(f"{place}, column {raw}: {error.value!r}: {error.problem}") from error
        return pa.table(converted)

    def _ids(self, entity: str, column: pa.Array) -> pa.Array:
        ids = read_ids(column, self._id_types[entity])
        if self._id_types[entity] == "auto":
            # The first piece decides; a later one that differs is told by its line, not guessed at.
            self._id_types[entity] = "integer" if pa.types.is_integer(ids.type) else "string"
        return ids


def open_source(config: PrepareConfig, source: RawSource) -> RawReader:
    """Looks at the columns of all files before any is read.

    Args:
        config: Names of columns, rule, format.
        source: The files.

    Returns:
        A reader of their rows.

    Raises:
        UserError: A column is missing or twice there, or a file can't be read.
    """
    pieces = {file: RawPieces(source.filesystem, file, config.delimiter) for file in source.files}
    names = {file: of_file.columns() for file, of_file in pieces.items()}
    for file, found in names.items():
        _require_columns(file, found, (config.user_column, config.item_column))
    rule = _rule(config, pieces, names)
    preference = all(config.preference_column in found for found in names.values())
    files: list[_File] = []
    left_aside: dict[str, list[str]] = {}
    for file, found in names.items():
        columns = _columns(file, config, rule, preference)
        _require_columns(file, found, tuple(columns.values()))
        files.append(_File(file, pieces[file], columns))
        rest = [name for name in found if name not in columns.values()]
        if rest and file.format in ("csv", "parquet"):
            left_aside[file.name] = rest
    rows = [of_file.num_rows() for of_file in pieces.values()]
    return RawReader(config, rule, preference, left_aside, sum(rows) if all(rows) else 0, files)


def _columns(file: RawFile, config: PrepareConfig, rule: Rule, preference: bool) -> dict[str, str]:
    if file.format == "triples":
        return {"user": "user", "item": "item", "label": "value"}
    if file.format == "movielens":
        return {"user": "user", "item": "item", "label": "rating"}
    value = config.label_column if rule == "binary" else config.rating_column
    columns = {"user": config.user_column, "item": config.item_column, "label": value}
    return columns | ({"preference": config.preference_column} if preference else {})


def _require_columns(file: RawFile, found: list[str], wanted: tuple[str, ...]) -> None:
    if file.format not in ("csv", "parquet"):
        return
    for name in wanted:
        if found.count(name) != 1:
            state = "has no column" if name not in found else f"has {found.count(name)} columns called"
            raise UserError(
                f"{file.name} {state} {name!r}, only {', '.join(found)}; name the columns by the options user_column, "
                "item_column, label_column and rating_column"
            )


def _rule(config: PrepareConfig, pieces: dict[RawFile, RawPieces], names: dict[RawFile, list[str]]) -> Rule:
    if config.rule != "auto":
        return config.rule
    kinds = {file.format for file in names}
    if "movielens" in kinds:
        return "rating"
    if "triples" in kinds:
        binary = all(only_binary(batch.column(0)) for of_file in pieces.values() for batch in of_file.read(["value"]))
        return "binary" if binary else "rating"
    if all(config.label_column in found for found in names.values()):
        return "binary"
    if all(config.rating_column in found for found in names.values()):
        return "rating"
    listed = "; ".join(f"{file.name}: {', '.join(found)}" for file, found in names.items())
    raise UserError(
        f"neither {config.label_column!r} nor {config.rating_column!r} is a column of every file ({listed}); "
        "name the column by label_column or rating_column"
    )
