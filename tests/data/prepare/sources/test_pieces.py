"""A raw file is read piece by piece: what was read before does not stay in memory."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.csv as pacsv
import pyarrow.fs as pafs
import pyarrow.parquet as pq
import pytest

from distributed_il.data.prepare.sources import delimited, parquet_pieces
from distributed_il.data.prepare.sources.file_pieces import open_pieces
from distributed_il.data.prepare.sources.files import RawFile
from distributed_il.data.prepare.sources.pieces import RawPieces
from distributed_il.data.prepare.sources.text_options import TextOptions

ROWS = 500_000


@pytest.fixture
def table() -> pa.Table:
    rng = np.random.default_rng(0)
    return pa.table({name: rng.integers(0, 2**62, ROWS) for name in ("user_id", "item_id")})


def test_parquet_takes_memory_for_a_piece_alone(
    table: pa.Table, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(parquet_pieces, "_PIECE_ROWS", 10_000)
    pq.write_table(table, tmp_path / "x.parquet", row_group_size=10_000)
    found = pieces_of(tmp_path / "x.parquet")
    assert found.num_rows() == ROWS
    # The whole is 8 MB; a piece is 160 kB, as it lies in the file and as it is read.
    assert largest_allocation(found) < 2e6


def test_text_takes_memory_for_a_piece_alone(table: pa.Table, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(delimited, "_BLOCK_BYTES", 1 << 16)
    monkeypatch.setattr(delimited, "_PIECE_ROWS", 10_000)
    pacsv.write_csv(table, tmp_path / "x.csv")
    found = pieces_of(tmp_path / "x.csv")
    assert found.num_rows() == 0
    # The whole is 19 MB of text.
    assert largest_allocation(found) < 4e6


def pieces_of(path: Path) -> RawPieces:
    kind = "parquet" if path.suffix == ".parquet" else "csv"
    return open_pieces(pafs.LocalFileSystem(), RawFile("all", path.name, str(path), kind), TextOptions())


def largest_allocation(pieces: RawPieces) -> int:
    before, largest, rows = pa.total_allocated_bytes(), 0, 0
    for batch in pieces.read(["user_id"]):
        rows += batch.num_rows
        largest = max(largest, pa.total_allocated_bytes() - before)
    assert rows == ROWS
    return largest


def test_rows_are_told_by_file_and_line(tmp_path: Path) -> None:
    (tmp_path / "x.csv").write_text("user_id,item_id\n1,2\n\n3,4\n")
    assert pieces_of(tmp_path / "x.csv").place(1) == "x.csv, line 4"
    assert pieces_of(tmp_path / "x.parquet").place(1) == "x.parquet, row 2"
