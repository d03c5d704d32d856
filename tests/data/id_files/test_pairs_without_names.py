"""Files of pairs and of ids without a line of names: their first line is a row, and none is lost."""

from __future__ import annotations

import gzip
from pathlib import Path
from typing import Any

import pytest

from distributed_il.core.errors import UserError
from distributed_il.data.id_files import pair_files
from distributed_il.data.id_files.pair_files import PairFiles, find_pairs

PAIRS = [("1", "10"), ("1", "11"), ("2", "10"), ("3", "12")]


def rows(files: PairFiles) -> list[tuple[Any, ...]]:
    pieces = [piece for file, part in files.pieces for piece in file.read(list(files.columns), part=part)]
    found = [piece.batch.select(files.columns).to_pydict().values() for piece in pieces]
    return [row for columns in found for row in zip(*columns, strict=True)]


@pytest.mark.parametrize(
    ("name", "form"),
    [
        ("x.csv", "{u},{i}"),
        ("x.tsv", "{u}\t{i}"),
        ("x.txt", "{u} {i}"),
        ("x.csv", "{u};{i}"),
        ("x.csv", "{u},{i},4,978300760"),
        ("x.csv.gz", "{u},{i},978300760"),
        ("x.csv", "u{u},i{i},2024-05-01"),
    ],
)
def test_users_and_items_by_position(name: str, form: str, tmp_path: Path) -> None:
    text = "".join(form.format(u=u, i=i) + "\n" for u, i in PAIRS).encode()
    (tmp_path / name).write_bytes(gzip.compress(text) if name.endswith(".gz") else text)
    said: list[str] = []
    found = rows(find_pairs(str(tmp_path / name), ["user_id", "item_id"], say=said.append))
    assert found == [(f"u{u}", f"i{i}") if "u{u}" in form else (u, i) for u, i in PAIRS]
    (line,) = said
    assert "no header, its first line is a row; columns by position: user_id, item_id" in line


def test_lists_of_items_are_pairs(tmp_path: Path) -> None:
    (tmp_path / "x.txt").write_text("1 10 11\n2 10\n3 12\n")
    assert rows(find_pairs(str(tmp_path / "x.txt"), ["user_id", "item_id"])) == PAIRS


@pytest.mark.parametrize("size", [1, 7, 1 << 20])
def test_every_row_is_in_one_piece(size: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pair_files, "PIECE_BYTES", size)
    (tmp_path / "x.csv").write_text("".join(f"{u},{i}\n" for u, i in PAIRS))
    assert rows(find_pairs(str(tmp_path / "x.csv"), ["user_id", "item_id"])) == PAIRS


def test_ids_alone(tmp_path: Path) -> None:
    (tmp_path / "x.txt").write_text("10\n\n12\n11\n")
    files = find_pairs(str(tmp_path / "x.txt"), ["item_id"])
    assert rows(files) == [("10",), ("12",), ("11",)]
    # As of `exclude`, which may say to whom.
    assert rows(find_pairs(str(tmp_path / "x.txt"), ["item_id"], first="user_id")) == rows(files)
    (tmp_path / "x.txt").write_text("1,10\n2,12\n")
    found = find_pairs(str(tmp_path / "x.txt"), ["item_id"], first="user_id")
    assert (found.columns, rows(found)) == (("user_id", "item_id"), [("1", "10"), ("2", "12")])


@pytest.mark.parametrize("text", ["1,10\n2,12\n", "10,11,12\n"])
def test_which_of_several_are_the_ids_is_not_guessed(text: str, tmp_path: Path) -> None:
    (tmp_path / "x.csv").write_text(text)
    with pytest.raises(UserError, match="a row of several fields; write ids alone, one in a line"):
        find_pairs(str(tmp_path / "x.csv"), ["item_id"])


@pytest.mark.parametrize(
    ("text", "columns"),
    [
        ("1,10,0\n1,11,1\n", ("user_id", "item_id", "label")),
        ("1,10,978300760\n1,11,978300761\n", ("user_id", "item_id")),
        ("1,10\n1,11\n", ("user_id", "item_id")),
    ],
)
def test_of_histories_the_third_is_the_label_unless_it_is_a_time(
    text: str, columns: tuple[str, ...], tmp_path: Path
) -> None:
    (tmp_path / "x.csv").write_text(text)
    files = find_pairs(str(tmp_path / "x.csv"), ["user_id", "item_id"], last="label")
    assert files.columns == columns
    assert [row[:2] for row in rows(files)] == [("1", "10"), ("1", "11")]


def test_names_are_the_logs_or_the_users(tmp_path: Path) -> None:
    """A header of numbers, as pandas writes it, stays one where the log or the user calls columns so."""
    (tmp_path / "x.csv").write_text("0,1\n1,10\n1,11\n")
    log = {"user_id": "0", "item_id": "1"}
    assert rows(find_pairs(str(tmp_path / "x.csv"), ["user_id", "item_id"], name_of=log.get)) == PAIRS[:2]
    assert rows(find_pairs(str(tmp_path / "x.csv"), ["0", "1"])) == PAIRS[:2]
    with pytest.raises(UserError, match=r"\(0,1\) may be a row or names; .* write a line of names above it"):
        find_pairs(str(tmp_path / "x.csv"), ["user_id", "item_id"])
    (tmp_path / "x.csv").write_text("0\n10\n11\n")
    with pytest.raises(UserError, match=r"\(0\) may be a row or names"):
        find_pairs(str(tmp_path / "x.csv"), ["item_id"])
    assert rows(find_pairs(str(tmp_path / "x.csv"), ["item_id"], name_of={"item_id": "0"}.get)) == [("10",), ("11",)]


def test_a_row_whose_values_are_named_as_columns_is_not_lost(tmp_path: Path) -> None:
    (tmp_path / "x.csv").write_text("1,10\n1,11\n")
    with pytest.raises(UserError, match=r"\(1,10\) looks like a row, and columns are named after it; write a line"):
        find_pairs(str(tmp_path / "x.csv"), ["1", "10"])


def test_text_without_numbers_needs_names(tmp_path: Path) -> None:
    (tmp_path / "x.csv").write_text("ann,tea\nbob,milk\n")
    with pytest.raises(UserError, match=r"only ann, tea; .* if its first line is a row, write a line of names"):
        find_pairs(str(tmp_path / "x.csv"), ["user_id", "item_id"])


def test_a_file_that_tells_of_items_has_to_name_its_columns(tmp_path: Path) -> None:
    (tmp_path / "x.csv").write_text("10,Heat\n11,Alien\n")
    with pytest.raises(UserError, match="has no column 'item_id', only 10, Heat"):
        find_pairs(str(tmp_path / "x.csv"), ["item_id", "title"], has_names=True)
