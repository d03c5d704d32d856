"""Parts of a result: whole or not there, made once, and never mixed with another result."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from distributed_il.core.errors import UserError
from distributed_il.inference.result_parts import CountedTable, ResultParts

SCHEMA = pa.schema({"n": pa.int64()})
FROM = {"checkpoint": "a", "sizes": (1, 2)}


def tables(*sizes: int, broken: bool = False) -> Iterator[CountedTable]:
    for size in sizes:
        yield pa.table({"n": range(size)}, schema=SCHEMA), {"rows": size}
    if broken:
        raise UserError("a bad row")


def test_parts_are_found_again_with_their_counts_and_read_as_one_table(tmp_path: Path) -> None:
    output = str(tmp_path / "out")
    parts = ResultParts.open(output, FROM)
    assert parts.finished(3) == {}
    parts.write(2, SCHEMA, tables(2, 3))
    again = ResultParts.open(output, FROM)
    assert again.finished(3) == {2: {"rows": 5}}
    again.write(0, SCHEMA, tables(1))
    again.finish(3, {"rows": 6})
    assert pq.read_table(output).column("n").to_pylist() == [0, 0, 1, 0, 1, 2]
    manifest = json.loads((tmp_path / "out" / "_manifest.json").read_text())
    assert manifest["finished"]
    assert manifest["made_from"]["checkpoint"] == "a"


def test_a_part_that_fails_is_not_there(tmp_path: Path) -> None:
    parts = ResultParts.open(str(tmp_path), FROM)
    with pytest.raises(UserError, match="a bad row"):
        parts.write(0, SCHEMA, tables(2, broken=True))
    assert [path.name for path in tmp_path.iterdir()] == ["_manifest.json"]


def test_another_result_is_refused(tmp_path: Path) -> None:
    ResultParts.open(str(tmp_path / "out"), FROM)
    with pytest.raises(UserError, match='was made from checkpoint "a", and this is "b"; give another output'):
        ResultParts.open(str(tmp_path / "out"), {**FROM, "checkpoint": "b"})
    (tmp_path / "file").write_text("")
    for taken in (tmp_path, tmp_path / "file"):
        with pytest.raises(UserError, match="is taken"):
            ResultParts.open(str(taken), FROM)


def test_a_file_that_is_no_part_is_told(tmp_path: Path) -> None:
    parts = ResultParts.open(str(tmp_path), FROM)
    pq.write_table(pa.table({"n": [1]}), tmp_path / "part-00000.parquet")
    with pytest.raises(UserError, match="is no part of a result"):
        parts.finished(1)
