"""Opens a prepared dataset and reads its blocks, indexes and vocabularies."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.fs as pafs
from numpy.typing import NDArray

from distributed_il.core.errors import UserError
from distributed_il.core.files import filesystem
from distributed_il.core.inside import require_inside
from distributed_il.core.plain_arrow import PlainParquet, open_parquet
from distributed_il.core.verified_files import require_whole
from distributed_il.data.dataset.allowed_values import (
    check_activity,
    check_external_ids,
    check_pairs,
    check_rows,
)
from distributed_il.data.dataset.declared_sizes import check_declared_sizes
from distributed_il.data.dataset.factors import StoredFactors, read_factors
from distributed_il.data.dataset.feature_codes import read_codes, read_values
from distributed_il.data.dataset.index_files import items_name, read_index
from distributed_il.data.dataset.manifest import (
    ITEMS_NAME,
    MANIFEST_NAME,
    USERS_NAME,
    Entity,
    FeatureColumn,
    Manifest,
    parse_manifest,
)
from distributed_il.data.dataset.vocabulary import VocabularyDigest
from distributed_il.data.sampling import PairIndex

_VOCABULARIES = {"users": USERS_NAME, "items": ITEMS_NAME}
_DIGEST_ROWS = 1 << 16
_AGAIN = "prepare the dataset again, or point data.path at an undamaged copy"


@dataclass(frozen=True, slots=True)
class Block:
    """One row group: what is read at a time."""

    path: str
    """File, relative to the dataset."""
    row_group: int
    """Its number in the file."""
    lane: int
    start: int
    """Position in the lane of its first row; position p of lane l is global row p · V + l."""
    rows: int


@dataclass(frozen=True, eq=False, slots=True)
class Activity:
    """How often each user and item occurs in the training data."""

    user_rows: NDArray[np.int64]
    """int64 [num_users]."""
    user_positives: NDArray[np.int64]
    """int64 [num_users]: rows of label 1."""
    item_rows: NDArray[np.int64]
    """int64 [num_items]."""
    item_positives: NDArray[np.int64]
    """int64 [num_items]: rows of label 1."""


class Dataset:
    """A prepared dataset, read only."""

    def __init__(self, path: str, fs: pafs.FileSystem, root: str, manifest: Manifest) -> None:
        """Use `Dataset.open`."""
        self.path = path
        """As it was given."""
        self.filesystem = fs
        """Where it lies."""
        self.root = root
        """Its directory on `filesystem`."""
        self.manifest = manifest
        """What it says about itself."""

    @classmethod
    def open(cls, path: str) -> Dataset:
        """Opens a dataset and checks that all its files are there in full size.

        Args:
            path: Local path or any URI that pyarrow knows.

        Returns:
            The dataset.

        Raises:
            UserError: There is no finished dataset, it is of another schema version, a file is missing or of another
                size, or lies elsewhere, or sizes in the manifest contradict each other.
        """
        fs, root = filesystem(path)
        place = f"{root}/{MANIFEST_NAME}"
        try:
            with fs.open_input_stream(place, compression=None) as stream:
                text = stream.read().decode()
        except (FileNotFoundError, NotADirectoryError) as error:
            raise UserError(
                f"{path} holds no {MANIFEST_NAME}, so it is no prepared dataset, or its preparation did not finish; "
                "make one with `distributed-il prepare` or `distributed-il simulate`"
            ) from error
        except (OSError, UnicodeDecodeError) as error:
            raise UserError(f"{place} can't be read ({error}); {_AGAIN}") from error
        dataset = cls(path, fs, root, parse_manifest(text, place))
        dataset._check_files()
        return dataset

    def _check_files(self) -> None:
        expected = self.manifest.all_files()
        manifest = self.full_path(MANIFEST_NAME)
        require_inside(self.filesystem, self.root, (path for path, _ in expected), manifest)
        found = self.filesystem.get_file_info([self.full_path(path) for path, _ in expected])
        for (path, size), info in zip(expected, found, strict=True):
            if info.type != pafs.FileType.File:
                raise UserError(f"{self.full_path(path)} is missing; {_AGAIN}")
            if info.size != size:
                raise UserError(f"{self.full_path(path)} has {info.size} bytes instead of {size}; {_AGAIN}")
        check_declared_sizes(self.manifest, manifest, _AGAIN)

    @property
    def num_users(self) -> int:
        """Users in all; user ids are 0 .. num_users - 1."""
        return self.manifest.num_users

    @property
    def num_items(self) -> int:
        """Items in all; item ids are 0 .. num_items - 1."""
        return self.manifest.num_items

    @property
    def lanes(self) -> int:
        """V: global row n of a split lies in lane n % V at position n // V."""
        return self.manifest.lanes

    @property
    def weighted(self) -> bool:
        """Whether training rows have weights, in their column `weight`."""
        return self.manifest.weighted

    @property
    def fingerprint(self) -> str:
        """SHA-256 that identifies the content."""
        return self.manifest.fingerprint

    def full_path(self, path: str) -> str:
        """Returns a file's path on `filesystem`, from its path relative to the dataset."""
        return f"{self.root}/{path}"

    def rows(self, split: str) -> int:
        """Returns the rows of a split; 0 where there is none of that name."""
        found = self.manifest.splits.get(split)
        return 0 if found is None else found.rows

    def blocks(self, split: str, lane: int) -> tuple[Block, ...]:
        """Lists the blocks of a lane, in order; none where the lane is empty.

        Raises:
            ValueError: There is no such lane.
        """
        if not 0 <= lane < self.lanes:
            raise ValueError(f"lane {lane} is not below {self.lanes}")
        blocks: list[Block] = []
        start = 0
        found = self.manifest.splits.get(split)
        for file in () if found is None else found.files:
            if file.lane != lane:
                continue
            for number, rows in enumerate(file.row_groups):
                blocks.append(Block(path=file.path, row_group=number, lane=lane, start=start, rows=rows))
                start += rows
        return tuple(blocks)

    def read_block(self, block: Block, columns: Sequence[str]) -> pa.Table:
        """Reads some columns of a block.

        Args:
            block: One of `blocks`.
            columns: Their names.

        Returns:
            A table of those columns in that order, each of one chunk.

        Raises:
            UserError: A column is not there, the file is damaged, or a value is none of this dataset's.
        """
        place = self.full_path(block.path)
        with self._open_parquet(block.path) as file:
            missing = [name for name in columns if name not in file.names]
            if missing:
                raise UserError(f"{place} has no column {', '.join(missing)}, only {file.names}")
            table = file.read_row_group(block.row_group, columns)
        if table.num_rows != block.rows:
            raise UserError(
                f"{place}, row group {block.row_group}: {table.num_rows} rows instead of {block.rows}; {_AGAIN}"
            )
        table = table.select(list(columns)).combine_chunks()
        check_rows(table, (self.num_users, self.num_items), f"{place}, row group {block.row_group}", _AGAIN)
        return table

    def observed(self) -> PairIndex:
        """Maps the unique training pairs; raises `UserError` where a file is damaged."""
        return self._index("observed")

    def logged(self) -> PairIndex | None:
        """Maps the unclear pairs; None where the dataset has none."""
        if all(file.path != items_name("logged") for file in self.manifest.tables):
            return None
        return self._index("logged")

    def _index(self, name: str) -> PairIndex:
        index = read_index(self.filesystem, self.root, name, self._hashes)
        check_pairs(index, (self.num_users, self.num_items), self.full_path(f"{name}_*.arrow"), _AGAIN)
        return index

    def factors(self, fingerprint: str | None = None, *, whole: bool = True) -> StoredFactors | None:
        """The exposure factors.

        Args:
            fingerprint: Which ones, by default those that were computed last; earlier ones stay for their runs.
            whole: False to leave the check of their files away, because they are to be written again.

        Returns:
            The factors; None where the dataset has none.

        Raises:
            UserError: The files are missing or damaged.
        """
        sizes = (self.num_users, self.num_items)
        return read_factors(self.filesystem, self.root, self.path, self.fingerprint, sizes, fingerprint, whole=whole)

    def activity(self) -> Activity:
        """Reads the rows and positives of each user and item in the training data."""
        columns: dict[str, NDArray[np.int64]] = {}
        for prefix, name in (("user", USERS_NAME), ("item", ITEMS_NAME)):
            table = self._read_table(name, ["train_rows", "train_positives"])
            check_activity(table, self._ids[name], self.full_path(name), _AGAIN)
            columns[f"{prefix}_rows"] = table.column("train_rows").to_numpy().astype(np.int64)
            columns[f"{prefix}_positives"] = table.column("train_positives").to_numpy().astype(np.int64)
        return Activity(**{field.name: columns[field.name] for field in dataclasses.fields(Activity)})

    def feature_codes(self, entity: Entity) -> NDArray[Any]:
        """Maps the codes of the side features of users or items: integers [ids, columns].

        Raises:
            UserError: The file is not what the preparation wrote.
        """
        ids = self.num_users if entity == "users" else self.num_items
        return read_codes(self.filesystem, self.root, entity, ids, self.feature_columns(entity), self._hashes)

    def feature_columns(self, entity: Entity) -> tuple[FeatureColumn, ...]:
        """Returns the side features that users or items have."""
        return self.manifest.features.get(entity, ())

    def feature_values(self, entity: Entity) -> dict[str, pa.Array]:
        """Reads the values of each side feature, strings; the k-th, from 1, is the value of code k.

        Raises:
            UserError: The file is damaged.
        """
        return read_values(self.filesystem, self.root, entity, self.feature_columns(entity), self._hashes)

    def vocabulary(self, entity: Entity) -> pa.Array:
        """Reads the external ids, int64 or string; place k is dense id k."""
        name = _VOCABULARIES[entity]
        column: Any = self._read_table(name, ["external_id"]).column(0).combine_chunks()
        check_external_ids(column, self._ids[name], self.full_path(name), _AGAIN)
        return column

    def vocabulary_digest(self, entity: Entity, first: int) -> str:
        """SHA-256 of the first external ids in their order: the same for every dataset that has them in its first rows.

        Args:
            entity: Which vocabulary.
            first: How many ids; not more than there are.
        """
        digest, left = VocabularyDigest(), first
        with self._open_parquet(_VOCABULARIES[entity]) as file:
            for batch in file.batches(["external_id"], _DIGEST_ROWS):
                ids = batch.column(0).slice(0, left)
                digest.add(ids)
                left -= len(ids)
                if not left:
                    break
        return digest.hexdigest()

    def _read_table(self, name: str, columns: list[str]) -> pa.Table:
        with self._open_parquet(name) as file:
            return file.read(columns)

    def _open_parquet(self, path: str) -> AbstractContextManager[PlainParquet]:
        require_whole(self.filesystem, self.full_path(path), self._hashes[path], _AGAIN)
        return open_parquet(self.filesystem, self.full_path(path), _AGAIN)

    @cached_property
    def _hashes(self) -> dict[str, str]:
        """SHA-256 of each file by its path."""
        return self.manifest.hashes()

    @property
    def _ids(self) -> dict[str, int]:
        """Ids in each vocabulary's file."""
        return {USERS_NAME: self.num_users, ITEMS_NAME: self.num_items}
