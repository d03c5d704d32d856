"""Rows are dealt to lanes by their number, in row groups, over as many files as it takes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.fs as pafs
import pyarrow.parquet as pq
import pytest

from distributed_il.data.dataset.lane_writer import GROUPS_PER_FILE, LaneWriter

SCHEMA = pa.schema([("user_id", pa.int32()), ("label", pa.int8())])


def write(root: Path, rows: int, pieces: list[int], lanes: int, row_group_rows: int) -> LaneWriter:
    writer = LaneWriter(pafs.LocalFileSystem(), str(root), "train", SCHEMA, lanes=lanes, row_group_rows=row_group_rows)
    numbers = np.arange(rows, dtype=np.int32)
    for part in np.split(numbers, np.cumsum(pieces)):
        writer.append({"user_id": part, "label": (part % 2).astype(np.int8)})
    return writer


@pytest.mark.parametrize("pieces", [[], [1, 1, 1], [0, 4, 0, 29], [50]])
def test_row_n_lies_in_lane_n_mod_v_at_place_n_div_v(pieces: list[int], tmp_path: Path) -> None:
    split = write(tmp_path, 103, pieces, lanes=4, row_group_rows=5).finish(positives=51)
    assert (split.rows, split.positives, split.columns) == (103, 51, ("user_id", "label"))
    # 103 rows in 4 lanes: 26, 26, 26 and 25, in row groups of 5.
    assert [file.row_groups for file in split.files] == [(5, 5, 5, 5, 5, 1)] * 3 + [(5, 5, 5, 5, 5)]
    for lane, file in enumerate(split.files):
        table = pq.read_table(tmp_path / file.path)
        assert table.schema.equals(SCHEMA)
        assert table.column("user_id").to_pylist() == list(range(lane, 103, 4))
        assert table.column("label").to_pylist() == [n % 2 for n in range(lane, 103, 4)]
        assert file.bytes == (tmp_path / file.path).stat().st_size
        groups = pq.ParquetFile(tmp_path / file.path).metadata
        assert [groups.row_group(g).num_rows for g in range(groups.num_row_groups)] == list(file.row_groups)


def test_a_long_lane_takes_several_files(tmp_path: Path) -> None:
    rows = 2 * (2 * GROUPS_PER_FILE + 3)
    split = write(tmp_path, rows, [7, 20], lanes=2, row_group_rows=1).finish(positives=0)
    assert [(file.path, file.lane, file.rows) for file in split.files] == [
        (f"train/lane-{lane:03d}-{part:05d}.parquet", lane, size)
        for lane in range(2)
        for part, size in enumerate((GROUPS_PER_FILE, GROUPS_PER_FILE, 3))
    ]
    read = [pq.read_table(tmp_path / file.path).column("user_id").to_pylist() for file in split.files if file.lane]
    assert [row for rows_of_file in read for row in rows_of_file] == list(range(1, rows, 2))


def test_a_lane_without_rows_has_no_file(tmp_path: Path) -> None:
    split = write(tmp_path, 2, [], lanes=5, row_group_rows=10).finish(positives=1)
    assert [(file.lane, file.rows) for file in split.files] == [(0, 1), (1, 1)]


def test_how_rows_are_brought_leaves_no_trace_in_the_files(tmp_path: Path) -> None:
    one = write(tmp_path / "one", 500, [], lanes=3, row_group_rows=16).finish(positives=250)
    other = write(tmp_path / "other", 500, [1, 17, 90], lanes=3, row_group_rows=16).finish(positives=250)
    assert one == other
