"""Writes the rows of a split to its lanes in turn, with memory for one row group a lane."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.fs as pafs
import pyarrow.parquet as pq
from numpy.typing import NDArray

from distributed_il.core.files import HashingSink
from distributed_il.data.dataset.manifest import LaneFile, Split

GROUPS_PER_FILE = 16
"""Row groups after which a lane goes on in its next file."""


class LaneWriter:
    """The files of one split."""

    def __init__(
        self, fs: pafs.FileSystem, root: str, split: str, schema: pa.Schema, *, lanes: int, row_group_rows: int
    ) -> None:
        """Makes the split's directory; the columns of `schema` are numbers without nulls, `lanes` is V."""
        self._fs, self._root, self._split, self._schema = fs, root, split, schema
        self._lanes, self._capacity = lanes, row_group_rows
        # np.empty takes no memory until it is written to, so small splits stay small.
        self._buffers = {
            column.name: np.empty((lanes, row_group_rows), dtype=column.type.to_pandas_dtype()) for column in schema
        }
        self._filled = np.zeros(lanes, dtype=np.int64)
        self._open: dict[int, _OpenFile] = {}
        self._files: list[LaneFile] = []
        self._parts = [0] * lanes
        self.rows = 0
        """Rows written so far."""
        fs.create_dir(f"{root}/{split}", recursive=True)

    def append(self, columns: dict[str, NDArray[Any]]) -> None:
        """Writes rows that follow those of the call before."""
        count = len(next(iter(columns.values())))
        for lane in range(min(self._lanes, count)):
            first = self.rows + lane
            self._append_to_lane(first % self._lanes, {name: v[lane :: self._lanes] for name, v in columns.items()})
        self.rows += count

    def _append_to_lane(self, lane: int, columns: dict[str, NDArray[Any]]) -> None:
        count, done = len(next(iter(columns.values()))), 0
        while done < count:
            filled = int(self._filled[lane])
            taken = min(count - done, self._capacity - filled)
            for name, values in columns.items():
                self._buffers[name][lane, filled : filled + taken] = values[done : done + taken]
            self._filled[lane] += taken
            done += taken
            if self._filled[lane] == self._capacity:
                self._write_group(lane)

    def _write_group(self, lane: int) -> None:
        rows = int(self._filled[lane])
        file = self._open.get(lane)
        if file is None:
            name = f"{self._split}/lane-{lane:03d}-{self._parts[lane]:05d}.parquet"
            file = self._open[lane] = _OpenFile(self._fs, self._root, name, self._schema)
            self._parts[lane] += 1
        file.write(pa.table([self._buffers[column.name][lane, :rows] for column in self._schema], schema=self._schema))
        self._filled[lane] = 0
        if len(file.row_groups) == GROUPS_PER_FILE:
            self._finish_file(lane)

    def _finish_file(self, lane: int) -> None:
        self._files.append(self._open.pop(lane).finish(lane))

    def finish(self, positives: int) -> Split:
        """Writes what is left and closes the files."""
        for lane in range(self._lanes):
            if self._filled[lane]:
                self._write_group(lane)
            if lane in self._open:
                self._finish_file(lane)
        self._buffers = {}
        files = tuple(sorted(self._files, key=lambda file: file.path))
        return Split(rows=self.rows, positives=positives, columns=tuple(self._schema.names), files=files)

    def abandon(self) -> None:
        """Closes the files as they are."""
        for file in self._open.values():
            file.abandon()
        self._open.clear()


class _OpenFile:
    """A Parquet file being written."""

    def __init__(self, fs: pafs.FileSystem, root: str, name: str, schema: pa.Schema) -> None:
        self._name = name
        self.row_groups: list[int] = []
        self._sink = HashingSink(fs, f"{root}/{name}")
        # Ids of shuffled rows do not repeat enough for a dictionary; labels do.
        repeating: Any = [column for column in schema.names if column == "label"]
        self._writer = pq.ParquetWriter(
            self._sink, schema, compression="zstd", compression_level=1, use_dictionary=repeating
        )

    def write(self, table: pa.Table) -> None:
        self._writer.write_table(table, row_group_size=table.num_rows)
        self.row_groups.append(table.num_rows)

    def finish(self, lane: int) -> LaneFile:
        self._writer.close()
        self._sink.close()
        return LaneFile(
            path=self._name,
            lane=lane,
            rows=sum(self.row_groups),
            row_groups=tuple(self.row_groups),
            bytes=self._sink.bytes,
            sha256=self._sink.sha256,
        )

    def abandon(self) -> None:
        try:
            self._writer.close()
            self._sink.close()
        except OSError:
            # The disk is full, which is why the file is abandoned: the first error is the one to tell.
            pass
