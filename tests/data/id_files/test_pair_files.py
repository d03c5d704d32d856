"""Pieces of files: together they hold each row once, in order, wherever they are cut."""

from __future__ import annotations

import gzip
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from distributed_il.core.errors import UserError
from distributed_il.data.id_files import pair_files
from distributed_il.data.id_files.id_lookup import IdLookup
from distributed_il.data.id_files.pair_files import PairFiles, find_pairs
from distributed_il.data.id_files.reading import read_ids

COLUMNS = ("user_id", "item_id")
PAIRS = [(str(n), str(n * n)) for n in (1, 22, 333, 4, 55, 6666)]
NUMBERS = [IdLookup(entity, pa.array([1, 4], pa.int64())) for entity in ("user", "item")]


def rows(files: PairFiles) -> list[tuple[object, ...]]:
    pieces = [piece for file, part in files.pieces for piece in file.read(list(COLUMNS), part=part)]
    found = [piece.batch.select(COLUMNS).to_pydict() for piece in pieces]
    return [pair for columns in found for pair in zip(*columns.values(), strict=True)]


@pytest.mark.parametrize("end", ["\n", "\r\n"])
@pytest.mark.parametrize("closed", [True, False])
def test_every_line_is_in_one_piece_wherever_text_is_cut(
    end: str, closed: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lines = ["user_id,other,item_id", *(f"{user},x,{item}" for user, item in PAIRS)]
    (tmp_path / "pairs.csv").write_bytes((end.join(lines) + end * closed).encode())
    for size in range(1, 80):
        monkeypatch.setattr(pair_files, "PIECE_BYTES", size)
        assert rows(find_pairs(str(tmp_path / "pairs.csv"), COLUMNS)) == PAIRS, size


def test_row_groups_make_pieces(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    users, items = zip(*PAIRS, strict=True)
    pq.write_table(pa.table({"item_id": items, "user_id": users}), tmp_path / "a.parquet", row_group_size=2)
    monkeypatch.setattr(pair_files, "PIECE_ROWS", 3)
    files = find_pairs(str(tmp_path), COLUMNS)
    assert [(part.first_row, part.rows) for _, part in files.pieces] == [(0, 4), (4, 2)]
    assert rows(files) == PAIRS


def test_a_directory_of_several_kinds_is_read_in_order_of_names(tmp_path: Path) -> None:
    (tmp_path / "a.tsv").write_text("user_id\titem_id\n1\t2\n")
    with gzip.open(tmp_path / "b.csv.gz", "wt") as file:
        file.write("item_id,user_id\n4,3\n")
    (tmp_path / "notes.md").write_text("not pairs")
    assert rows(find_pairs(str(tmp_path), COLUMNS)) == [("1", "2"), ("3", "4")]


@pytest.mark.parametrize("compression", ["gzip", "bz2", "zstd", "lz4"])
def test_compressed_text_is_one_piece(compression: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pair_files, "PIECE_BYTES", 5)
    ending = {"gzip": "gz", "zstd": "zst"}.get(compression, compression)
    with pa.output_stream(tmp_path / f"pairs.csv.{ending}", compression=compression) as file:
        file.write(b"user_id,item_id\n1,2\n3,4\n")
    files = find_pairs(str(tmp_path), COLUMNS)
    assert len(files.pieces) == 1
    assert rows(files) == [("1", "2"), ("3", "4")]


def test_a_pattern_finds_files_below_a_directory(tmp_path: Path) -> None:
    for day in ("monday", "tuesday"):
        (tmp_path / day).mkdir()
        (tmp_path / day / "pairs.csv").write_text(f"user_id,item_id\n{day},x\n")
        (tmp_path / day / "other.csv").write_text("nothing\n")
    assert rows(find_pairs(f"{tmp_path}/*/pairs.csv", COLUMNS)) == [("monday", "x"), ("tuesday", "x")]


def test_text_without_line_feeds_is_one_piece(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pair_files, "PIECE_BYTES", 5)
    (tmp_path / "pairs.csv").write_bytes(b"user_id,item_id\r1,2\r3,4\r")
    assert rows(find_pairs(str(tmp_path), COLUMNS)) == [("1", "2"), ("3", "4")]


@pytest.mark.parametrize("size", range(1, 50, 7))
def test_a_line_of_another_width_is_told(size: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pair_files, "PIECE_BYTES", size)
    (tmp_path / "pairs.csv").write_text("user_id,item_id\n1,2\n\n3,4\n5\n6,7\n")
    with pytest.raises(UserError, match="pairs.csv, line 5: 1 fields instead of 2"):
        rows(find_pairs(str(tmp_path), COLUMNS))


@pytest.mark.parametrize("size", [5, 1000])
@pytest.mark.parametrize("packed", [False, True])
def test_what_is_no_id_is_told_by_its_line(
    size: int, packed: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pair_files, "PIECE_BYTES", size)
    name = tmp_path / ("pairs.csv.gz" if packed else "pairs.csv")
    with gzip.open(name, "wt") if packed else name.open("w") as file:
        file.write("user_id,item_id\n1,4\n\n4,1\n4,one\n1,1\n")
    files = find_pairs(str(name), COLUMNS)
    with pytest.raises(UserError, match="line 5, column item_id: 'one' is no item id: those of this dataset are whole"):
        for piece in range(len(files.pieces)):
            list(read_ids(files, piece, NUMBERS))


def test_a_missing_id_is_told_by_its_row(tmp_path: Path) -> None:
    pq.write_table(pa.table({"user_id": [1, None], "item_id": [1, 1]}), tmp_path / "pairs.parquet")
    files = find_pairs(str(tmp_path / "pairs.parquet"), COLUMNS)
    with pytest.raises(UserError, match="row 2, column user_id: None is no user id"):
        list(read_ids(files, 0, NUMBERS))


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        (
            "pairs.csv",
            "user,item_id\n1,2\n",
            "has no column 'user_id', only user, item_id; name its columns by the options",
        ),
        ("pairs.csv", "user_id,item_id,item_id\n", "has 2 columns called 'item_id'"),
        ("pairs.csv", "", "is empty; give a file with rows"),
        ("pairs.parquet", "PAR1", "can't be read"),
        ("pairs.json", "[]", r"pairs\.json, line 1: '\[\]' is no JSON object; write an object in each line"),
        ("pairs.xml", "{}", "the name tells no format"),
    ],
)
def test_what_holds_no_pairs_is_answered(name: str, content: str, message: str, tmp_path: Path) -> None:
    (tmp_path / name).write_text(content)
    with pytest.raises(UserError, match=message):
        find_pairs(str(tmp_path / name), COLUMNS)
    with pytest.raises(UserError, match="does not exist"):
        find_pairs(str(tmp_path / "elsewhere"), COLUMNS)
