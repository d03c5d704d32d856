"""The one door to Parquet and Arrow files: plain columns pass, all others are refused before a value is looked at."""

from __future__ import annotations

import datetime
import decimal
import re
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.fs as pafs
import pyarrow.parquet as pq
import pytest

import distributed_il
from distributed_il.core.errors import UserError
from distributed_il.core.plain_arrow import open_arrow_file, open_arrow_stream, open_parquet

LOCAL = pafs.LocalFileSystem()
PLAIN = {
    "int8": pa.array([1, None], pa.int8()),
    "uint64": pa.array([1, None], pa.uint64()),
    "float16": pa.array([1.0, None], pa.float16()),
    "float64": pa.array([1.0, None]),
    "bool": pa.array([True, None]),
    "string": pa.array(["a", None]),
    "large": pa.array(["a", None], pa.large_string()),
    "view": pa.array(["a", None], pa.string_view()),
    "moment": pa.array([datetime.datetime(2024, 1, 1), None], pa.timestamp("ns", "UTC")),
    "date": pa.array([datetime.date(2024, 1, 1), None]),
    "decimal": pa.array([decimal.Decimal("1.5"), None]),
    "coded": pa.array(["a", None]).dictionary_encode(),
    "nothing": pa.nulls(2),
    "list": pa.array([[1, None], None]),
    "large list": pa.array([["a"], []], pa.large_list(pa.string())),
}
UUID = pa.ExtensionArray.from_storage(pa.uuid(), pa.array([b"0" * 16] * 2, pa.binary(16)))
NOT_PLAIN = {
    "uuid": UUID,
    "bytes": pa.array([b"a", b"b"]),
    "list of uuids": pa.ListArray.from_arrays(pa.array([0, 1, 2], pa.int32()), UUID),
    "list of bytes": pa.array([[b"a"], [b"b"]]),
    "list of lists": pa.array([[[1]], [[2]]]),
    "struct": pa.array([{"b": 1}, {"b": 2}]),
    "map": pa.array([[("a", 1)], []], pa.map_(pa.string(), pa.int64())),
    "time": pa.array([datetime.time(1), None]),
    "coded bytes": pa.array([b"a", b"b"]).dictionary_encode(),
}


def write_parquet(path: Path, columns: Any, schema: pa.Schema | None = None) -> str:
    pq.write_table(pa.table(columns, schema=schema), path)
    return str(path)


def write_ipc(table: pa.Table, new: Any) -> pa.Buffer:
    sink = pa.BufferOutputStream()
    with new(sink, table.schema) as writer:
        writer.write_table(table)
    return sink.getvalue()


def test_plain_columns_are_read_as_they_are(tmp_path: Path) -> None:
    path = write_parquet(tmp_path / "a.parquet", PLAIN)
    with open_parquet(LOCAL, path, "cure") as file:
        assert file.names == list(PLAIN)
        assert file.read(["string", "int8"]).to_pydict() == {"int8": [1, None], "string": ["a", None]}
        assert file.read(list(PLAIN)).equals(pq.read_table(path))
        assert file.read_row_group(0, ["bool"]).to_pydict() == {"bool": [True, None]}
        assert [batch.num_rows for batch in file.batches(list(PLAIN), 1)] == [1, 1]
    table = pa.table(PLAIN)
    for new, opened in ((pa.ipc.new_file, open_arrow_file), (pa.ipc.new_stream, open_arrow_stream)):
        assert opened(write_ipc(table, new), "place", "cure").read_all().equals(table)


@pytest.mark.parametrize("kind", NOT_PLAIN)
def test_any_other_column_is_refused_by_every_way_of_reading(kind: str, tmp_path: Path) -> None:
    table = pa.table({"good": [1, 2], "bad": NOT_PLAIN[kind]})
    path = write_parquet(tmp_path / "a.parquet", table.columns, table.schema)
    with open_parquet(LOCAL, path, "cure", name="logs/a.parquet") as file:
        assert file.read(["good"]).column_names == ["good"]
        for read in (
            lambda: file.read(["good", "bad"]),
            lambda: file.read_row_group(0, ["bad"]),
            lambda: next(iter(file.batches(["bad"], 1))),
            lambda: file.require_plain(["bad"]),
        ):
            with pytest.raises(UserError, match=r"logs/a\.parquet, column bad: it is of"):
                read()
    for new, opened in ((pa.ipc.new_file, open_arrow_file), (pa.ipc.new_stream, open_arrow_stream)):
        with pytest.raises(UserError, match="place, column bad: it is of"):
            opened(write_ipc(table, new), "place", "cure")


def test_an_extension_type_that_nobody_has_registered_is_refused_as_well(tmp_path: Path) -> None:
    marks = {"ARROW:extension:name": "somebody.s", "ARROW:extension:metadata": ""}
    field = pa.field("bad", pa.int64(), metadata=marks)
    path = write_parquet(tmp_path / "a.parquet", [pa.array([1])], pa.schema([field]))
    with (
        open_parquet(LOCAL, path, "cure") as file,
        pytest.raises(UserError, match=r"column bad: it is of the extension type 'somebody\.s'"),
    ):
        file.read(["bad"])
    listed = pa.field("bad", pa.list_(pa.field("element", pa.int64(), metadata=marks)))
    path = write_parquet(tmp_path / "b.parquet", [pa.array([[1]], listed.type)], pa.schema([listed]))
    with open_parquet(LOCAL, path, "cure") as file, pytest.raises(UserError, match="column bad: it is of type list"):
        file.read(["bad"])


def test_a_dotted_name_is_the_column_and_the_field(tmp_path: Path) -> None:
    """What pyarrow takes for both has to be plain in both."""
    table = {"a.b": pa.array([1, 2]), "a": NOT_PLAIN["struct"]}
    path = write_parquet(tmp_path / "a.parquet", table)
    with open_parquet(LOCAL, path, "cure") as file, pytest.raises(UserError, match="column a: it is of type struct"):
        file.read(["a.b"])


class _Refusing(pa.ExtensionType):
    def __init__(self) -> None:
        super().__init__(pa.int64(), "distributed_il.tests.refusing")

    def __arrow_ext_serialize__(self) -> bytes:
        return b""

    @classmethod
    def __arrow_ext_deserialize__(cls, storage_type: pa.DataType, serialized: bytes) -> _Refusing:
        raise RuntimeError("not this one")


def test_a_type_that_fails_when_the_file_is_opened_is_told_of(tmp_path: Path) -> None:
    column = pa.ExtensionArray.from_storage(_Refusing(), pa.array([1]))
    pa.register_extension_type(_Refusing())
    try:
        path = write_parquet(tmp_path / "a.parquet", {"bad": column})
        with pytest.raises(UserError, match=r"a\.parquet can't be read as Parquet \(not this one\); cure"):
            open_parquet(LOCAL, path, "cure").__enter__()
        content = write_ipc(pa.table({"bad": column}), pa.ipc.new_file)
        with pytest.raises(UserError, match=r"place can't be read as an Arrow file \(not this one\); cure"):
            open_arrow_file(content, "place", "cure")
    finally:
        pa.unregister_extension_type("distributed_il.tests.refusing")


def test_what_is_no_such_file_is_told(tmp_path: Path) -> None:
    (tmp_path / "a.parquet").write_text("a,b")
    for name in ("a.parquet", "b.parquet"):
        with pytest.raises(UserError, match=rf"{name} can't be read as Parquet .*; cure"):
            open_parquet(LOCAL, str(tmp_path / name), "cure").__enter__()
    for opened in (open_arrow_file, open_arrow_stream):
        with pytest.raises(UserError, match="place can't be read as an Arrow .*; cure"):
            opened(pa.py_buffer(b"a,b"), "place", "cure")


def test_nothing_of_the_package_opens_such_files_by_itself() -> None:
    package = Path(distributed_il.__file__).parent
    opening = re.compile(
        r"pq\.(ParquetFile\(|ParquetDataset|read_)|from pyarrow\.parquet import|pyarrow\.(dataset|feather|orc)|"
        r"from pyarrow import (dataset|feather|orc|ipc)|ipc\.(open|read)_|RecordBatch(File|Stream)Reader\(|"
        r"ray\.data\.(read_(?!datasource)|from_)"
    )
    found = {
        str(path.relative_to(package))
        for path in package.rglob("*.py")
        if any(opening.search(line) for line in path.read_text().splitlines())
    }
    assert found == {"core/plain_arrow.py"}
