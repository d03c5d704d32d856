"""Reads raw files of side features, and refuses those that give an id two values."""

from __future__ import annotations

import posixpath
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal, NoReturn

import numpy as np
import pyarrow as pa
import pyarrow.fs as pafs
from numpy.typing import NDArray

from distributed_il.core.errors import UserError
from distributed_il.data.dataset import Dataset, Entity, SourceFile, filesystem
from distributed_il.data.prepare.build.side_features import SideFeatures
from distributed_il.data.prepare.config import PrepareConfig
from distributed_il.data.prepare.sources.column_names import shown_names
from distributed_il.data.prepare.sources.column_types import BadValueError
from distributed_il.data.prepare.sources.feature_layouts import open_features
from distributed_il.data.prepare.sources.feature_values import NONE, lay_out, read_values
from distributed_il.data.prepare.sources.files import fingerprint
from distributed_il.data.prepare.sources.ids import IdType, read_ids
from distributed_il.data.prepare.sources.pieces import Piece, RawPieces

MAX_WIDTH = 64
"""Values that a field may hold; each user or item has room for as many as the longest field."""
_SIDES: dict[Entity, Literal["user", "item"]] = {"users": "user", "items": "item"}


@dataclass(frozen=True, slots=True)
class FeatureFile:
    """A file of side features whose columns are there."""

    entity: Entity
    fs: pafs.FileSystem
    path: str
    pieces: RawPieces
    id_column: str
    columns: tuple[str, ...]
    raw: Mapping[str, str]
    """What the file calls each of them."""
    separator: str | None = None
    """What parts the values of a field; None where it holds one."""

    def fingerprint(self) -> SourceFile:
        """Reads the file for its size and SHA-256."""
        return fingerprint(self.fs, self.path, posixpath.basename(self.path))

    def read(self, wanted: IdType) -> SideFeatures:
        """Reads the file; its ids are read as `wanted`, like those of the log.

        Raises:
            UserError: The file can't be read, holds no rows or a bad value, or two values for one id.
        """
        ids: list[pa.Array] = []
        values: list[list[pa.Array]] = [[] for _ in self.columns]
        counts: list[list[NDArray[np.int64]]] = [[] for _ in self.columns]
        rows: list[NDArray[np.int64]] = []
        for piece in self.pieces.read([self.raw[name] for name in (self.id_column, *self.columns)]):
            ids.append(self._converted(piece, self.id_column, lambda column: read_ids(column, wanted)))
            for column, parts, of_rows in zip(self.columns, values, counts, strict=True):
                read = partial(read_values, separator=self._separator_of(column))
                texts, count = self._converted(piece, column, read)
                parts.append(texts.dictionary_encode())
                of_rows.append(count)
            rows.append(piece.rows)
        if not sum(len(part) for part in ids):
            raise UserError(f"{self.path} holds no rows; give a file with rows, or leave {self.option} out")
        columns = [pa.chunked_array(parts).unify_dictionaries().combine_chunks() for parts in values]
        laid_out = [
            lay_out(column.indices.to_numpy().astype(np.int64), np.concatenate(of_rows))
            for column, of_rows in zip(columns, counts, strict=True)
        ]
        self._require_few(laid_out, rows)
        places, widths = np.concatenate(laid_out, axis=1), tuple(block.shape[1] for block in laid_out)
        texts = {name: column.dictionary for name, column in zip(self.columns, columns, strict=True)}
        encoded = pa.chunked_array(ids).combine_chunks().dictionary_encode()
        of_id = encoded.indices.to_numpy()
        first = np.zeros(len(encoded.dictionary), np.int64)
        first[of_id[::-1]] = np.arange(of_id.size)[::-1]  # of equal ids the first comes last, and stays
        contradicting = np.flatnonzero((places != places[first[of_id]]).any(axis=1))
        if contradicting.size:
            row = int(contradicting[0])
            self._refuse(row, int(first[of_id[row]]), laid_out, texts, np.concatenate(rows))
        return SideFeatures(self.entity, encoded.dictionary, places[first], texts, widths)

    @property
    def kind(self) -> Literal["user", "item"]:
        """Whom the features are of."""
        return _SIDES[self.entity]

    @property
    def option(self) -> str:
        """The option that has named it."""
        return f"{self.kind}_features"

    def _separator_of(self, column: str) -> str | None:
        """Returns what parts the values of a column; a header that names types says which columns hold one."""
        one = self.raw[column] != column and self.raw[column].endswith((":token", ":float"))
        return None if one else self.separator

    def _require_few(self, laid_out: Sequence[NDArray[np.int32]], rows: Sequence[NDArray[np.int64]]) -> None:
        """Raises `UserError` if a field holds more values than each row of the dataset is to have room for."""
        for name, block in zip(self.columns, laid_out, strict=True):
            if block.shape[1] > MAX_WIDTH:
                place = self.pieces.place(int(np.concatenate(rows)[np.flatnonzero(block[:, -1] != NONE)[0]]))
                raise UserError(
                    f"{place}, column {name}: {block.shape[1]:,} values in one field, and at most {MAX_WIDTH} can be; "
                    f"correct {self.option}_separator, or keep the values that matter"
                )

    def _converted(self, piece: Piece, column: str, convert: Any) -> pa.Array:
        try:
            return convert(piece.batch.column(self.raw[column]))
        except BadValueError as error:
            raise error.at(self.pieces.place(int(piece.rows[error.row])), column) from error

    def _refuse(
        self,
        row: int,
        first: int,
        laid_out: Sequence[NDArray[np.int32]],
        texts: Mapping[str, pa.Array],
        rows: NDArray[np.int64],
    ) -> NoReturn:
        column = next(number for number, block in enumerate(laid_out) if (block[row] != block[first]).any())
        name, block = self.columns[column], laid_out[column]
        there, here = (
            [texts[name][int(place)].as_py() for place in block[k] if place != NONE] or None for k in (first, row)
        )
        if block.shape[1] == 1:
            there, here = (found and found[0] for found in (there, here))
        raise UserError(
            f"{self.pieces.place(int(rows[row]))}, column {name}: {here!r}, but {self.pieces.place(int(rows[first]))} "
            f"has {there!r} for the same {self.id_column}; leave one row for each {self.kind}"
        )


def open_feature_files(config: PrepareConfig, id_columns: dict[str, str], parent: Dataset | None) -> list[FeatureFile]:
    """Looks at the columns of the files of side features before anything is read.

    `id_columns` are what the log calls its columns of `user` and `item`; what a parent has features of needs the same
    ones again.

    Raises:
        UserError: A file or column is not there, or the parent's columns are others.
    """
    files = [_opened(config, entity, id_columns[kind]) for entity, kind in _SIDES.items()]
    for entity, kind, file in zip(_SIDES, _SIDES.values(), files, strict=True):
        before = () if parent is None else tuple(column.name for column in parent.feature_columns(entity))
        if parent is not None and before and before != (file.columns if file else ()):
            given = f"are {_listed(file.columns)}" if file else "are not given"
            raise UserError(
                f"{parent.path} has the {kind} features {_listed(before)}, and here they {given}; give {kind}_features "
                f"and {kind}_feature_columns='[{', '.join(before)}]', if only with the new {entity}, or prepare both "
                "logs anew"
            )
    return [file for file in files if file is not None]


def _opened(config: PrepareConfig, entity: Entity, log_column: str) -> FeatureFile | None:
    kind = _SIDES[entity]
    given, columns = getattr(config, f"{kind}_features"), getattr(config, f"{kind}_feature_columns")
    if given is None:
        return None
    if not columns:
        raise UserError(f"{kind}_features is given, and {config.append_to} has none; give {kind}_feature_columns, too")
    fs, path = filesystem(given)
    if fs.get_file_info(path).type != pafs.FileType.File:
        raise UserError(f"{given} is no file; give {kind}_features a CSV, JSON or Parquet file")
    own = getattr(config, f"{kind}_features_id")
    pieces, raw = open_features(config, kind, fs, path, [*([own] if own else []), *columns])
    header = pieces.columns()
    id_column = own or (log_column if log_column in raw else f"{kind}_id")
    for name, option in [(id_column, f"{kind}_features_id"), *((name, f"{kind}_feature_columns") for name in columns)]:
        count = header.count(raw.get(name, name))
        if count != 1:
            state = f"{count} columns called" if count else "no column"
            raise UserError(
                f"{given} has {state} {name!r}, only {shown_names(header)}; correct {option}, or give "
                f"{kind}_features_delimiter"
            )
    if raw[id_column] in [raw[name] for name in columns]:
        raise UserError(f"{given}: the column {id_column!r} holds the ids; leave it out of {kind}_feature_columns")
    separator = getattr(config, f"{kind}_features_separator")
    return FeatureFile(entity, fs, path, pieces, id_column, tuple(columns), raw, separator)


def _listed(names: Sequence[str]) -> str:
    return f"[{', '.join(names)}]"
