"""Delimited text: pieces of strings, and lines counted as an editor counts them."""

from __future__ import annotations

import gzip
from pathlib import Path

import pyarrow as pa
import pyarrow.fs as pafs
import pytest

from distributed_il.core.errors import UserError
from distributed_il.data.prepare.sources.delimited import column_names, read_delimited
from distributed_il.data.prepare.sources.known_logs import TRIPLES, Layout
from distributed_il.data.prepare.sources.text_lines import line_numbers

LOCAL = pafs.LocalFileSystem()
COMMA = Layout(delimiter=",", quoted=True)


def read(path: Path, layout: Layout, columns: list[str]) -> dict[str, list[str]]:
    pieces = read_delimited(LOCAL, str(path), "x.csv", layout, columns)
    return pa.Table.from_batches([piece.batch for piece in pieces]).to_pydict()


def written(path: Path, text: str | bytes) -> Path:
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return path


def test_columns_come_as_strings_in_the_order_asked_for(tmp_path: Path) -> None:
    path = written(tmp_path / "x.csv", 'user,item,note\n1,007,"a,b"\n2,,c\n')
    assert column_names(LOCAL, str(path), "x.csv", COMMA) == ["user", "item", "note"]
    assert read(path, COMMA, ["item", "user"]) == {"item": ["007", ""], "user": ["1", "2"]}
    assert read(path, COMMA, ["note"]) == {"note": ["a,b", "c"]}


def test_without_a_header_every_line_is_a_row(tmp_path: Path) -> None:
    path = written(tmp_path / "x.train.rating", "1\t2\t5\n3\t4\t1")
    assert column_names(LOCAL, str(path), "x", TRIPLES) == ["user", "item", "value"]
    assert read(path, TRIPLES, ["user", "value"]) == {"user": ["1", "3"], "value": ["5", "1"]}


def test_a_compressed_file_is_read_like_a_plain_one(tmp_path: Path) -> None:
    path = written(tmp_path / "x.csv.gz", gzip.compress(b"a,b\n\n1,2\n"))
    assert read(path, COMMA, ["b"]) == {"b": ["2"]}
    assert line_numbers(LOCAL, str(path), [2]) == [3]


def test_windows_line_ends_and_blank_lines_do_not_matter(tmp_path: Path) -> None:
    path = written(tmp_path / "x.csv", "\ufeffa,b\r\n1,2\r\n\r\n3,4\r\n\r\n")
    assert read(path, COMMA, ["a", "b"]) == {"a": ["1", "3"], "b": ["2", "4"]}
    assert line_numbers(LOCAL, str(path), [2, 3]) == [2, 4]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a,b\n1,2\n\n3\n4,5\n", r"x\.csv, line 4: 1 fields instead of 2 \('3'\)"),
        ("a,b\n1,2\n3,4,5\n", r"x\.csv, line 3: 3 fields instead of 2"),
        ("", r"x\.csv is empty"),
        (b"a,b\n\xff\xfe,1\n", r"x\.csv can't be read as delimited UTF-8 text"),
    ],
)
def test_what_does_not_fit_is_told_by_its_line(text: str | bytes, message: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=message):
        read(written(tmp_path / "x.csv", text), COMMA, ["a", "b"])


def test_a_bad_line_far_down_is_told_by_its_number(tmp_path: Path) -> None:
    # 3 million rows are several of the reader's blocks.
    path = written(tmp_path / "x.csv", "a,b\n" + "1234,5678\n" * 3_000_000 + "9\n")
    with pytest.raises(UserError, match="line 3000002: 1 fields"):
        list(read_delimited(LOCAL, str(path), "x.csv", COMMA, ["a"]))
