"""Tables as files: which rows a part holds, and which of them a reader takes."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from pyarrow import fs

from distributed_il.core.errors import UserError
from distributed_il.models.embedding.table import EmbeddingTable
from distributed_il.training import checkpoint_shards
from distributed_il.training.checkpoint_parts import TablePart
from distributed_il.training.checkpoint_shards import SavedTable, common_numbers, read_table, write_parts

ROWS, DIM = 23, 2
ROW_BYTES = 3 * DIM * 8 + 4
LOCAL = fs.LocalFileSystem()

ascending = st.builds(
    lambda first, count, stride: range(first, first + count * stride, stride),
    st.integers(0, 40),
    st.integers(1, 30),
    st.integers(1, 12),
)


@given(one=ascending, other=ascending)
def test_common_numbers_are_those_of_both(one: range, other: range) -> None:
    assert list(common_numbers(one, other)) == sorted(set(one) & set(other))


def make_table(rank: int, stride: int) -> EmbeddingTable:
    """Row n holds n, n, … and was last touched at step n, where the rows held are rank, rank + stride, …"""
    rows = range(rank, ROWS, stride)
    table = EmbeddingTable(rows, DIM, std=1.0, seed=0, dtype=torch.float64, device=torch.device("cpu"))
    numbers = torch.arange(rank, ROWS, stride)
    table.packed[:] = numbers.unsqueeze(1)
    table.last_step[:] = numbers
    return table


def write(place: Path, world_size: int, stride: int) -> list[list[TablePart]]:
    """What each rank has written."""
    return [
        write_parts(
            LOCAL, str(place), "users", make_table(rank if stride > 1 else 0, stride), rank=rank, world_size=world_size
        )
        for rank in range(world_size)
    ]


@pytest.mark.parametrize(("world_size", "stride"), [(1, 1), (3, 1), (3, 3), (4, 4)])
def test_ranks_write_every_row_once(
    world_size: int, stride: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(checkpoint_shards, "PART_BYTES", 5 * ROW_BYTES + 1)
    written = write(tmp_path, world_size, stride)
    parts = [part for mine in written for part in mine]
    assert sorted(number for part in parts for number in part.numbers) == list(range(ROWS))
    assert max(part.rows for part in parts) == 5
    assert all((tmp_path / f"{part.file}.safetensors").stat().st_size == part.bytes for part in parts)
    assert len(list(tmp_path.iterdir())) == len(parts)
    # Five parts of 23 rows go to three ranks in turn; 8, 8 and 7 rows make two parts each, 5 rows make one.
    assert [len(mine) for mine in written] == {(1, 1): [5], (3, 1): [2, 2, 1], (3, 3): [2, 2, 2], (4, 4): [2, 2, 2, 1]}[
        world_size, stride
    ]
    for rank, mine in enumerate(written):
        assert [int(part.file.removeprefix("users-")) % world_size for part in mine] == [rank] * len(mine)


@pytest.mark.parametrize(("writers", "written_stride"), [(1, 1), (3, 1), (3, 3), (4, 4)])
@pytest.mark.parametrize("stride", [1, 2, 3, 6])
def test_any_ranks_read_what_others_wrote(
    writers: int, written_stride: int, stride: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(checkpoint_shards, "PART_BYTES", 5 * ROW_BYTES)
    parts = [part for mine in write(tmp_path, writers, written_stride) for part in mine]
    for rank in range(stride):
        table = make_table(rank, stride)
        expected, steps = table.packed.clone(), table.last_step.clone()
        table.packed.zero_()
        table.last_step.zero_()
        read_table(SavedTable(LOCAL, str(tmp_path), "users", parts), table)
        assert torch.equal(table.packed, expected)
        assert torch.equal(table.last_step, steps)


def test_a_reader_opens_only_parts_with_rows_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checkpoint_shards, "PART_BYTES", 5 * ROW_BYTES)
    parts = [part for mine in write(tmp_path, 4, 4) for part in mine]
    opened: list[str] = []
    read = checkpoint_shards.read_verified
    monkeypatch.setattr(
        checkpoint_shards,
        "read_verified",
        lambda fs, path, expected: opened.append(Path(path).stem) or read(fs, path, expected),
    )
    read_table(SavedTable(LOCAL, str(tmp_path), "users", parts), make_table(1, 6))
    # Rank 1 of 6 holds 1, 7, 13 and 19. Rank 1 of 4 wrote 1, 5, 9, 13, 17 and, in another part, 21; rank 3 wrote 3, 7,
    # 11, 15, 19; what the others wrote is even.
    assert opened == ["users-00001", "users-00003"]


def test_rows_that_no_part_holds_are_missed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checkpoint_shards, "PART_BYTES", 5 * ROW_BYTES)
    parts = write(tmp_path, 1, 1)[0]
    with pytest.raises(UserError, match="holds 18 of 23 rows of users"):
        read_table(SavedTable(LOCAL, str(tmp_path), "users", parts[1:]), make_table(0, 1))
    manifest = {"place": str(tmp_path), "parts": [dataclasses.asdict(part) for part in parts]}
    with pytest.raises(UserError, match="holds 0 of 23 rows of items"):
        read_table(SavedTable.of(LOCAL, manifest, "items"), make_table(0, 1))


def test_a_part_of_another_width_is_refused(tmp_path: Path) -> None:
    parts = write(tmp_path, 1, 1)[0]
    wider = EmbeddingTable(range(ROWS), DIM + 1, std=1.0, seed=0, dtype=torch.float64, device=torch.device("cpu"))
    with pytest.raises(UserError, match=r"users-00000.safetensors holds rows \(23, 6\) where \(23, 9\) should be"):
        read_table(SavedTable(LOCAL, str(tmp_path), "users", parts), wider)
