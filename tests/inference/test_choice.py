"""Files that say which items may be recommended to whom, and what is told of items."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from distributed_il.core.errors import UserError
from distributed_il.data.id_files.id_lookup import IdLookup
from distributed_il.data.id_files.pair_files import find_pairs
from distributed_il.data.id_files.reading import read_items
from distributed_il.inference.choice import read_fields, read_pairs
from distributed_il.inference.config import RecommendConfig

USERS, ITEMS = (IdLookup(kind, pa.array(["a", "b", "c"])) for kind in ("user", "item"))


def test_items_of_a_file_are_found_and_unknown_ones_passed_over(tmp_path: Path) -> None:
    (tmp_path / "items.csv").write_text("item_id\nc\nx\na\na\n")
    assert read_items(find_pairs(str(tmp_path / "items.csv"), ["item_id"]), ITEMS).tolist() == [True, False, True]
    (tmp_path / "none.csv").write_text("item_id\nx\n")
    with pytest.raises(UserError, match="none of its items is one of the dataset's"):
        read_items(find_pairs(str(tmp_path / "none.csv"), ["item_id"]), ITEMS)


@pytest.mark.parametrize(
    ("header", "columns"), [("item_id,user_id", ("user_id", "item_id")), ("item_id,x", ("item_id",))]
)
def test_a_column_of_users_is_read_where_there_is_one(header: str, columns: tuple[str, ...], tmp_path: Path) -> None:
    (tmp_path / "pairs.csv").write_text(f"{header}\nc,a\nx,a\na,y\nb,c\n")
    files = find_pairs(str(tmp_path / "pairs.csv"), ["item_id"], first="user_id")
    assert files.columns == columns
    if len(columns) == 2:
        pairs = read_pairs(files, USERS, ITEMS)
        assert (pairs.indptr.tolist(), pairs.items.tolist()) == ([0, 1, 1, 2], [2, 1])


def test_a_column_of_users_stands_in_all_files_or_in_none(tmp_path: Path) -> None:
    """Of the first file alone it was asked, so that pairs of the second became items that nobody may get."""
    pairs = pa.table({"user_id": ["a"], "item_id": ["b"]})
    pq.write_table(pairs[:0], tmp_path / "0.parquet")
    pq.write_table(pairs, tmp_path / "1.parquet")
    files = find_pairs(str(tmp_path), ["item_id"], first="user_id")
    assert files.columns == ("user_id", "item_id")
    assert read_pairs(files, USERS, ITEMS).indptr.tolist() == [0, 1, 1, 1]
    for name in ("0.parquet", "2.parquet"):
        pq.write_table(pairs.select(["item_id"]), tmp_path / name)
        with pytest.raises(UserError, match=f"{name} has no column 'user_id', only item_id"):
            find_pairs(str(tmp_path), ["item_id"], first="user_id")
        pq.write_table(pairs, tmp_path / name)


def test_fields_come_in_the_order_of_the_items(tmp_path: Path) -> None:
    table = pa.table({"year": [1, 2, 3], "item_id": ["c", "x", "a"], "title": ["C", "X", "A"]})
    pq.write_table(table, tmp_path / "items.parquet")
    found = read_fields(find_pairs(str(tmp_path / "items.parquet"), ["item_id", "title", "year"]), ITEMS)
    assert found.to_pydict() == {"title": ["A", None, "C"], "year": [3, None, 1]}
    pq.write_table(pa.concat_tables([table, table[2:]]), tmp_path / "items.parquet")
    with pytest.raises(UserError, match="has the item 'a' in several rows"):
        read_fields(find_pairs(str(tmp_path / "items.parquet"), ["item_id", "title"]), ITEMS)


def test_an_item_file_without_rows_is_told(tmp_path: Path) -> None:
    (tmp_path / "items.csv").write_text("item_id,title\n")
    with pytest.raises(UserError, match=r"items.csv holds no rows; give a file"):
        read_fields(find_pairs(str(tmp_path / "items.csv"), ["item_id", "title"]), ITEMS)


def test_nothing_told_is_a_table_without_columns() -> None:
    assert pa.table({}).take(pa.array(np.array([1, 2]))).columns == []


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"min_score": 1.5}, "min_score is 1.5; it is a probability"),
        ({"item_file": "items.csv"}, "give item_file and item_fields together"),
        ({"item_fields": ["title"]}, "give item_file and item_fields together"),
        ({"item_file": "x.csv", "item_fields": ["score"]}, "item_fields names score, which the result has already"),
        ({"item_file": "x.csv", "item_fields": ["vid"], "item_column": "vid"}, "item_fields names vid, which"),
        ({"item_file": "x.csv", "item_fields": ["a", "a"]}, "item_fields names a, which"),
    ],
)
def test_settings_that_make_no_sense_are_refused(options: dict[str, object], words: str) -> None:
    with pytest.raises(UserError, match=words):
        RecommendConfig(run_dir="run", output="out", **options)  # type: ignore[arg-type]
