"""Writes a dataset: rows in their final order, vocabularies, pair indexes, and the manifest last of all."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from distributed_il.core.errors import UserError
from distributed_il.core.files import HashingSink, StagedDirectory, explain_full_disk
from distributed_il.data.dataset.allowed_values import require_weights
from distributed_il.data.dataset.declared_sizes import MAX_LANES
from distributed_il.data.dataset.feature_codes import write_features
from distributed_il.data.dataset.index_files import write_index
from distributed_il.data.dataset.lane_writer import LaneWriter
from distributed_il.data.dataset.manifest import (
    ITEMS_NAME,
    MANIFEST_NAME,
    SPLITS,
    UNCLEAR,
    USERS_NAME,
    WEIGHT,
    Entity,
    FeatureColumn,
    Manifest,
    Reading,
    SourceFile,
    Split,
    TableFile,
)
from distributed_il.data.dataset.reader import Dataset

_VOCABULARY_ROWS = 1 << 20
"""Ids of a row group."""
_REQUIRED = {"user_id": pa.int32(), "item_id": pa.int32(), "label": pa.int8()}


class _Counts:
    """Counts rows and positives of each id; grows with the largest id seen."""

    def __init__(self) -> None:
        self._rows = np.zeros(0, dtype=np.int64)
        self._positives = np.zeros(0, dtype=np.int64)

    def add(self, ids: NDArray[Any], labels: NDArray[Any]) -> None:
        rows = np.bincount(ids, minlength=self._rows.size)
        rows[: self._rows.size] += self._rows
        positives = np.bincount(ids[labels == 1], minlength=rows.size)
        positives[: self._positives.size] += self._positives
        self._rows, self._positives = rows, positives

    def rows(self, size: int) -> NDArray[np.int64]:
        return np.pad(self._rows, (0, size - self._rows.size))

    def columns(self, size: int) -> dict[str, pa.Array]:
        both = {"train_rows": self._rows, "train_positives": self._positives}
        return {name: pa.array(np.pad(v, (0, size - v.size)).astype(np.int32)) for name, v in both.items()}


class DatasetWriter:
    """Builds a dataset directory that appears complete, when `finish` has been called, or not at all.

    A context manager: leaving it before `finish`, by an error or not, removes all that was written.
    """

    def __init__(
        self,
        path: str,
        *,
        name: str,
        rule: Mapping[str, Any],
        seed: int = 0,
        lanes: int = 24,
        row_group_rows: int = 65_536,
    ) -> None:
        """Checks the place and prepares to build.

        Args:
            path: Local path or URI of the dataset; it must not exist, or be an empty directory.
            name: The dataset's name.
            rule: How raw values became labels, for the manifest.
            seed: What the order of rows follows from, for the manifest.
            lanes: V, from 1 to 512; every number of workers that trains on it has to divide it.
            row_group_rows: Rows of a row group, at least 1.

        Raises:
            UserError: A number is out of range, or the place is taken.
        """
        if not 1 <= lanes <= MAX_LANES:
            raise UserError(f"lanes is {lanes}; it must lie between 1 and {MAX_LANES}")
        if row_group_rows < 1:
            raise UserError(f"row_group_rows is {row_group_rows}; it must be at least 1")
        self.path = path
        self._settings: dict[str, Any] = {
            "name": name,
            "rule": dict(rule),
            "seed": seed,
            "lanes": lanes,
            "row_group_rows": row_group_rows,
        }
        self._lanes, self._row_group_rows = lanes, row_group_rows
        self._staging = StagedDirectory(path)
        self._splits: dict[str, LaneWriter] = {}
        self._done: dict[str, Split] = {}
        self._positives: dict[str, int] = {}
        self._largest = [-1, -1]
        self._activity = (_Counts(), _Counts())
        self._indexes: dict[str, int] = {}
        self._features: dict[Entity, tuple[FeatureColumn, ...]] = {}
        self._coded: dict[Entity, int] = {}
        self._tables: list[TableFile] = []
        self._sizes = (0, 0)
        self._finished = False

    def __enter__(self) -> DatasetWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._finished:
            return
        with ExitStack() as stack:
            stack.callback(self._staging.discard)
            for writer in self._splits.values():
                stack.callback(writer.abandon)

    @property
    def scratch(self) -> Path:
        """A local directory for temporary files, beside the dataset where that is local; it goes away by itself."""
        return self._staging.scratch

    def append(self, split: str, table: pa.Table) -> None:
        """Adds rows to a split, in the order in which they are to be read.

        Args:
            split: `train`, `valid`, `test` or `unclear`.
            table: user_id int32, item_id int32, and but for `unclear` label int8 (0 or 1); columns of numbers beside
                them are kept. No nulls. The same columns at each call.

        Raises:
            ValueError: The table is not of that form.
            UserError: The disk is full.
        """
        _check_table(split, table)
        with explain_full_disk(self.path):
            if split not in self._splits:
                self._splits[split] = LaneWriter(
                    self._staging.filesystem,
                    self._staging.building,
                    split,
                    table.schema.remove_metadata(),
                    lanes=self._lanes,
                    row_group_rows=self._row_group_rows,
                )
                self._positives[split] = 0
            columns = {name: table.column(name).to_numpy() for name in table.schema.names}
            self._splits[split].append(columns)
        if table.num_rows == 0:
            return
        ids = (columns["user_id"], columns["item_id"])
        self._largest = [max(old, int(new.max())) for old, new in zip(self._largest, ids, strict=True)]
        if split != UNCLEAR:
            self._positives[split] += int(np.count_nonzero(columns["label"] == 1))
        if split == "train":
            for counts, values in zip(self._activity, ids, strict=True):
                counts.add(values, columns["label"])

    def finish_split(self, split: str) -> None:
        """Closes the files of a split that gets no more rows, which frees its memory; `finish` does so too."""
        if split in self._splits:
            with explain_full_disk(self.path):
                self._done[split] = self._splits[split].finish(self._positives[split])
            del self._splits[split]

    def write_index(self, index: str, pairs: Iterable[tuple[NDArray[Any], NDArray[Any]]], num_users: int) -> None:
        """Writes the index of `observed` (unique training) or `logged` (unclear) pairs; see `index_files.write_index`.

        Raises:
            ValueError: The pairs are not in order.
            UserError: The disk is full.
        """
        with explain_full_disk(self.path):
            files = write_index(self._staging.filesystem, self._staging.building, index, pairs, num_users, self.scratch)
        self._indexes[index] = files[1].rows
        self._tables += files

    def write_features(
        self, entity: Entity, codes: NDArray[Any], values: Mapping[str, pa.Array], widths: Sequence[int] = ()
    ) -> None:
        """Writes the side features of users or items; see `feature_codes.write_features`.

        `widths` are the codes of each column; empty where each has one.

        Raises:
            UserError: The disk is full.
        """
        with explain_full_disk(self.path):
            self._tables += write_features(self._staging.filesystem, self._staging.building, entity, codes, values)
        self._features[entity] = tuple(
            FeatureColumn(name=name, values=len(known), width=width)
            for (name, known), width in zip(values.items(), widths or [1] * len(values), strict=True)
        )
        self._coded[entity] = len(codes)

    def finish(
        self,
        *,
        users: pa.Array | pa.ChunkedArray,
        items: pa.Array | pa.ChunkedArray,
        policies: Mapping[str, str] | None = None,
        counts: Mapping[str, int] | None = None,
        source: Sequence[SourceFile] = (),
        parent: str = "",
        id_rule: str = "",
        times: Mapping[str, tuple[str, str]] | None = None,
        reading: Reading | None = None,
        documents: Callable[[Dataset], Mapping[str, str]] = lambda dataset: {},
    ) -> Manifest:
        """Writes vocabularies and manifest, lets the dataset appear, and returns the manifest.

        External ids of `users` and `items` are int64 or string; place k is dense id k. `documents` makes texts for
        people, by file name, that lie beside the dataset and are no part of it; it is given the dataset where it stands
        before it appears, and may write exposure factors there. All else is for the manifest.

        Raises:
            UserError: A split has no rows, or the disk is full.
            ValueError: An id has no place in its vocabulary, or an index or side features are missing or do not fit.
        """
        for split in [*self._splits]:
            self.finish_split(split)
        self._check_whole(len(users), len(items))
        self._sizes = (len(users), len(items))
        with explain_full_disk(self.path):
            self._write_vocabulary(USERS_NAME, users, self._activity[0])
            self._write_vocabulary(ITEMS_NAME, items, self._activity[1])
            manifest = Manifest(
                **self._settings,
                created=datetime.now(UTC).isoformat(timespec="seconds"),
                num_users=len(users),
                num_items=len(items),
                id_type={"user": str(users.type), "item": str(items.type)},
                policies=dict(policies or {}),
                counts=dict(counts or {}),
                splits={name: self._done[name] for name in (*SPLITS, UNCLEAR) if name in self._done},
                tables=tuple(sorted(self._tables, key=lambda file: file.path)),
                source=tuple(source),
                parent=parent,
                id_rule=id_rule,
                times=dict(times or {}),
                reading=reading or Reading(),
                features={entity: self._features[entity] for entity in sorted(self._features)},
            ).with_fingerprint()
            dataset = Dataset(self.path, self._staging.filesystem, self._staging.building, manifest)
            for name, text in documents(dataset).items():
                self._write_text(name, text)
            self._staging.drop_scratch()
            self._write_text(MANIFEST_NAME, manifest.to_json())
            self._staging.publish()
        self._finished = True
        return manifest

    def train_rows(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Returns the training rows of each user and of each item, int64; for `documents`."""
        users, items = (counts.rows(size) for counts, size in zip(self._activity, self._sizes, strict=True))
        return users, items

    def _check_whole(self, num_users: int, num_items: int) -> None:
        for split in SPLITS:
            if split not in self._done or self._done[split].rows == 0:
                raise UserError(f"{self.path}: the split {split} has no rows; give it some")
        if self._largest[0] >= num_users or self._largest[1] >= num_items:
            raise ValueError(f"ids go up to {self._largest}, vocabularies hold {num_users} and {num_items}")
        sizes: dict[Entity, int] = {"users": num_users, "items": num_items}
        if any(rows != sizes[entity] for entity, rows in self._coded.items()):
            raise ValueError(f"side features are of {self._coded} users and items, vocabularies of {sizes}")
        if "observed" not in self._indexes or (UNCLEAR in self._done) != ("logged" in self._indexes):
            raise ValueError("write the observed index, and the logged one if and only if there are unclear rows")

    def _write_text(self, name: str, text: str) -> None:
        with HashingSink(self._staging.filesystem, f"{self._staging.building}/{name}") as sink:
            sink.write(text.encode())

    def _write_vocabulary(self, name: str, ids: pa.Array | pa.ChunkedArray, activity: _Counts) -> None:
        if ids.type not in (pa.int64(), pa.string()) or ids.null_count:
            raise ValueError(f"external ids must be int64 or string without nulls, not {ids.type}")
        table = pa.table({"external_id": ids, **activity.columns(len(ids))})
        sink = HashingSink(self._staging.filesystem, f"{self._staging.building}/{name}")
        # Piece by piece: the ids may be mapped from a file because they are too many to hold.
        with sink, pq.ParquetWriter(sink, table.schema, compression="zstd") as writer:
            for start in range(0, table.num_rows, _VOCABULARY_ROWS):
                writer.write_table(table.slice(start, _VOCABULARY_ROWS))
        self._tables.append(TableFile(path=name, rows=len(ids), bytes=sink.bytes, sha256=sink.sha256))


def _check_table(split: str, table: pa.Table) -> None:
    if split not in (*SPLITS, UNCLEAR):
        raise ValueError(f"there is no split {split!r}")
    required = {name: kind for name, kind in _REQUIRED.items() if split != UNCLEAR or name != "label"}
    for name, kind in required.items():
        if name not in table.schema.names or table.schema.field(name).type != kind:
            raise ValueError(f"{split} needs a column {name} of type {kind}, not {table.schema}")
    if any(column.null_count for column in table.columns):
        raise ValueError(f"{split} must not hold nulls")
    if table.num_rows and min(table.column(name).to_numpy().min() for name in ("user_id", "item_id")) < 0:
        raise ValueError(f"{split} holds an id below 0")
    if WEIGHT in table.schema.names:
        require_weights(table.column(WEIGHT).to_numpy(), split, "give each row one")
    if "label" in required and not np.isin(table.column("label").to_numpy(), (0, 1)).all():
        raise ValueError(f"{split} holds a label other than 0 and 1")
