"""Reads a source piece by piece into tables of user, item and label, and finds the line of each row."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator
from contextlib import closing
from dataclasses import dataclass, field, replace
from functools import partial

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from distributed_il.core.errors import UserError
from distributed_il.data.dataset import SPLITS
from distributed_il.data.prepare.build.options import ALL
from distributed_il.data.prepare.config import PrepareConfig, Rule
from distributed_il.data.prepare.sources.column_types import (
    BadValueError,
    Reader,
    read_amounts,
    read_flags,
    read_labels,
    read_preferences,
    read_ratings,
    read_weights,
)
from distributed_il.data.prepare.sources.columns_of_file import ENGAGEMENT, Choice
from distributed_il.data.prepare.sources.feedback import watch_labels
from distributed_il.data.prepare.sources.files import RawFile, is_alone
from distributed_il.data.prepare.sources.ids import IdType, OtherIdsError, read_ids, written_as_floats
from distributed_il.data.prepare.sources.pieces import EmptyFileError, Piece, RawPieces, SetAside
from distributed_il.data.prepare.sources.read_stats import ReadStats
from distributed_il.data.prepare.sources.rejects import Lines, Rejects
from distributed_il.data.prepare.sources.times import read_times, without_zone

_FILE_SHIFT = 40
"""A row's number is that of its file, shifted so far, and its own in the file."""
_TEST = SPLITS[2]


@dataclass(frozen=True, slots=True)
class OpenFile:
    """A raw file and what is read of it."""

    file: RawFile
    pieces: RawPieces
    choice: Choice


@dataclass(slots=True)
class RawReader:
    """The rows of a source; `opening.open_source` makes it."""

    config: PrepareConfig
    rule: Rule
    left_aside: dict[str, list[str]]
    """Columns that are not read, by file."""
    num_rows: int
    """Rows in all; 0 where it takes reading the files to know."""
    _files: list[OpenFile]
    _without_header: int
    """Files that are left out because they hold nothing at all."""
    stats: ReadStats
    """Rows, rejects and watch times so far."""
    id_types: dict[str, IdType]
    """How ids of users and items are read; what is `auto` becomes `text` with the first piece that is."""
    integers: set[str] = field(default_factory=set[str])
    """`user` and `item`, where `auto` ids of theirs have been integers so far."""
    float_forms: dict[str, dict[str, bool]] = field(default_factory=dict[str, dict[str, bool]])
    """By file, whether integers of `user` and `item` have been written as floats are, 7.0."""

    @property
    def num_files(self) -> int:
        """How many files there are."""
        return len(self._files)

    @property
    def empty_files(self) -> int:
        """How many files without rows there are, once all are read."""
        return self._without_header + self.stats.empty_files

    @property
    def has_preference(self) -> bool:
        """Whether there is a column of true preferences, which is so where every file has it."""
        return all("preference" in file.choice.columns for file in self._files)

    @property
    def id_columns(self) -> dict[str, str]:
        """What the first file calls its columns of `user` and `item`."""
        return {name: self.choice.columns[name] for name in ("user", "item")}

    @property
    def choice(self) -> Choice:
        """What is read of the first file."""
        return self._files[0].choice

    @property
    def notes(self) -> list[str]:
        """Tells, in a line for each file, how it is read where the user's word did not decide."""
        return [file.pieces.note for file in self._files if file.pieces.note]

    @property
    def formats(self) -> list[str]:
        """Names of the logs read."""
        return sorted({file.choice.log.format for file in self._files})

    def id_type_of(self, entity: str) -> IdType:
        """Returns how ids of `user` or `item` are to be read elsewhere, by what is known so far."""
        wanted = self.id_types[entity]
        return "plain" if wanted == "auto" else wanted

    def settle_id_types(self) -> None:
        """Reads as much as it takes to know how ids are read, it seems; all of that is read again later.

        Raises:
            UserError: As `file_tables`.
        """
        if "auto" in self.id_types.values():
            looking = self.afresh()
            with closing(looking._all_tables()) as tables:
                next(tables, None)
            self.id_types, self.integers = looking.id_types, looking.integers

    def afresh(self, *, but: OtherIdsError | None = None) -> RawReader:
        """Returns a reader of the same files, with empty stats, that reads ids as an error says."""
        id_types: dict[str, IdType] = {**self.id_types, **({but.entity: but.id_type} if but else {})}
        stats = ReadStats(Rejects(self.config.max_reject_share))
        integers = self.integers - {but.entity if but else ""}
        return replace(self, stats=stats, id_types=id_types, integers=integers, float_forms={})

    def tables(self) -> Iterator[tuple[str, pa.Table]]:
        """Reads everything once, as `file_tables`; then raises as `check` does."""
        yield from self._all_tables()
        self.check()

    def file_tables(self, number: int) -> Iterator[tuple[str, pa.Table]]:
        """Reads a file once.

        Args:
            number: Which, from 0.

        Yields:
            Split (or `all`) and a piece of it: user and item int64 or string, label int8 with nulls, row int64 for
            `locate`, ascending within the split, where the split goes by time `time` as of `read_times`, and where
            `has_preference`, preference float32, and of training rows weight, float32, where they have some.

        Raises:
            UserError: The file can't be read, holds no rows, or holds a bad value, with its line or row.
            OtherIdsError: Ids are not what they seemed to be so far, so that it takes a reader that knows.
        """
        file = self._files[number]
        found = self.stats
        rows_before = found.rows + found.rejects.count
        for piece in self._pieces(file):
            for split, table in self._tables(file, piece, number << _FILE_SHIFT):
                found.rows += table.num_rows
                yield split, table
        if found.rows + found.rejects.count == rows_before:
            if is_alone(file.file, [other.file for other in self._files]):
                raise UserError(f"{file.file.name} holds no rows; give a file with rows")
            found.empty_files += 1
        found.time_units.check()

    def _pieces(self, file: OpenFile) -> Iterator[Piece]:
        try:
            yield from file.pieces.read([*dict.fromkeys(file.choice.columns.values())], self._set_aside(file))
        except EmptyFileError:
            if is_alone(file.file, [other.file for other in self._files]):
                raise

    def check(self) -> None:
        """Raises `UserError` if no file has rows, more are bad than may be, or times are of two kinds.

        Once all files are read.
        """
        if not self.stats.rows + self.stats.rejects.count:
            raise UserError(f"{self._files[0].file.name} holds no rows, and nor does another; give files with rows")
        self.stats.time_units.check()
        self.stats.rejects.check(self.stats.rows, self.lines)

    def require_here(self, number: int) -> None:
        """Raises `UserError` unless this machine sees a file."""
        self._files[number].pieces.require_here()

    def locate(self, split: str, row: int) -> str:
        """Names file and line of the row of that number."""
        return self._files[row >> _FILE_SHIFT].pieces.place(row & ((1 << _FILE_SHIFT) - 1))

    @property
    def lines(self) -> dict[str, Lines]:
        """Finds the lines of each file."""
        return {file.file.name: file.pieces.lines for file in self._files}

    def _all_tables(self) -> Generator[tuple[str, pa.Table]]:
        for number in range(self.num_files):
            yield from self.file_tables(number)

    def _set_aside(self, file: OpenFile) -> SetAside | None:
        if not self.stats.rejects.allowed:
            return None
        return lambda row, text, problem: self.stats.rejects.add(file.file.name, row, "", text, problem)

    def _tables(self, file: OpenFile, piece: Piece, first: int) -> Iterator[tuple[str, pa.Table]]:
        columns, rows = self._converted(file, piece)
        if not rows.size:
            return
        labels = self._labels(columns, rows.size)
        if "play" in columns:
            self.stats.watch_times.add(columns["play"], columns.get("duration"), labels, self.config.watch_time_unit)
        if "time" in columns:
            self.stats.time_units.add(file.file.name, columns["time"])
            columns["time"] = without_zone(columns["time"])
        kept = {name: columns[name] for name in ("user", "item", "time", "preference", "weight") if name in columns}
        table = pa.table({**kept, "label": labels, "row": first + rows})
        random = columns.get("random")
        if file.file.unbiased:
            yield _TEST, table
        elif random is None:
            yield file.file.split, table
        else:
            flags = random.to_numpy(zero_copy_only=False)
            for split, wanted in ((ALL, ~flags), (_TEST, flags)):
                if wanted.any():
                    yield split, table.filter(pa.array(wanted))

    def _labels(self, columns: dict[str, pa.Array], rows: int) -> pa.Array:
        if self.rule == "positive":
            return pa.array(np.ones(rows, np.int8))
        if self.rule == "binary":
            return columns["label"]
        if self.rule == "rating":
            return columns["rating"] if "rating" in columns else columns["label"]
        flags = [column for name, column in columns.items() if name.startswith(ENGAGEMENT)]
        engaged = [flag.to_numpy(zero_copy_only=False) for flag in flags]
        return watch_labels(self.rule, columns, np.logical_or.reduce(engaged) if engaged else None, self.config)

    def _converted(self, file: OpenFile, piece: Piece) -> tuple[dict[str, pa.Array], NDArray[np.int64]]:
        """Converts the columns of a piece and returns its good rows; bad ones are refused or set aside."""
        readers = self._readers(file)
        while True:
            converted: dict[str, pa.Array] = {}
            name = ""
            try:
                for name, raw in file.choice.columns.items():
                    converted[name] = readers(name)(piece.batch.column(raw))
            except BadValueError as error:
                piece = self._without(file, piece, file.choice.columns[name], error)
                continue
            for entity in ("user", "item"):
                self._settle(file, entity, converted[entity], piece.batch.column(file.choice.columns[entity]))
            return converted, piece.rows

    def _without(self, file: OpenFile, piece: Piece, raw: str, error: BadValueError) -> Piece:
        if not self.stats.rejects.allowed or error.all_rows is None:
            raise error.at(file.pieces.place(int(piece.rows[error.row])), raw) from error
        bad = error.all_rows()
        values = piece.batch.column(raw).take(pa.array(bad)).to_pylist()
        for row, value in zip(piece.rows[bad].tolist(), values, strict=True):
            self.stats.rejects.add(file.file.name, row, raw, value, error.problem)
        good = np.ones(piece.num_rows, dtype=np.bool_)
        good[bad] = False
        return piece.where(good)

    def _readers(self, file: OpenFile) -> Callable[[str], Reader]:
        by_role: dict[str, Reader] = {
            "user": partial(read_ids, wanted=self._id_type(file, "user"), typed=file.pieces.typed),
            "item": partial(read_ids, wanted=self._id_type(file, "item"), typed=file.pieces.typed),
            "label": read_labels,
            "rating": partial(
                read_ratings,
                positive_above=self.config.positive_above,
                negative_below=self.config.negative_below,
            ),
            "play": read_amounts,
            "duration": partial(read_amounts, optional=True),
            "ratio": partial(read_amounts, optional=True),
            "time": read_times,
            "preference": read_preferences,
            "weight": read_weights,
        }
        return lambda name: by_role.get(name, read_flags)

    def _id_type(self, file: OpenFile, entity: str) -> IdType:
        wanted = self.id_types[entity]
        return "plain" if wanted == "auto" and file.choice.log.integer_ids else wanted

    def _settle(self, file: OpenFile, entity: str, ids: pa.Array, raw: pa.Array) -> None:
        """Notes what the ids of good rows are: a bad row has no say in how those of others are read.

        Raises:
            OtherIdsError: They are text where those before were integers, or written as floats are where those before
                them in the file were not.
        """
        wanted = self._id_type(file, entity)
        if wanted not in ("auto", "plain") or not len(ids):
            return
        if not pa.types.is_integer(ids.type):
            if entity in self.integers:
                raise OtherIdsError(entity, "text")
            self.id_types[entity] = "text"
        elif not file.pieces.typed:
            # Where a file is cut into pieces must not matter: in one piece, 7.0 beside 8 is no integer.
            forms = self.float_forms.setdefault(file.file.name, {})
            if forms.setdefault(entity, written_as_floats(raw)) != written_as_floats(raw):
                raise OtherIdsError(entity, "text" if wanted == "auto" else "written")
        if wanted == "auto" and pa.types.is_integer(ids.type):
            self.integers.add(entity)
