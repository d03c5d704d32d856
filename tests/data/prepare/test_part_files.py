"""Part files: patterns choose them, empty ones are counted and left out, and compression goes by the name."""

from __future__ import annotations

import bz2
import gzip
from collections.abc import Callable
from pathlib import Path
from typing import Any

import prepared_logs
import pyarrow as pa
import pytest

from distributed_il.core.errors import UserError
from distributed_il.data.dataset import Manifest
from distributed_il.data.prepare import PrepareConfig, prepare, summary_text

HEADER = "user_id,item_id,label\n"
ROWS = "".join(f"{n % 5},{n // 5},{n % 2}\n" for n in range(30))


def run(root: Path, source: str = "", **options: Any) -> Manifest:
    place = str(root / "logs") + source
    return prepare(PrepareConfig(source=place, output=str(root / "out"), lanes=2, **options))


def write(root: Path, **parts: str) -> None:
    (root / "logs").mkdir()
    for name, text in parts.items():
        (root / "logs" / f"{name}.csv").write_text(text)


@pytest.mark.parametrize("first", ["", HEADER, "\n\n"])
def test_parts_without_rows_are_counted_and_left_out(first: str, tmp_path: Path) -> None:
    write(tmp_path, a=first, b=HEADER + ROWS, c=HEADER, d="")
    manifest = run(tmp_path)
    assert manifest.counts["rows_read"] == 30
    assert manifest.counts["empty_files"] == 3
    assert "30 rows of 4 files, 3 of them empty" in summary_text(manifest)


def test_the_number_of_files_is_told(tmp_path: Path) -> None:
    write(tmp_path, a=HEADER + ROWS[:60], b=HEADER + ROWS[60:])
    assert "30 rows of 2 files\n" in summary_text(run(tmp_path, "/*.csv")) + "\n"


@pytest.mark.parametrize(
    ("parts", "message"),
    [
        ({"a": "", "b": ""}, r"b\.csv is empty"),
        ({"a": HEADER, "b": HEADER}, r"a\.csv holds no rows, and nor does another"),
        ({"a": "", "b": HEADER}, r"b\.csv holds no rows"),
        ({"train": HEADER + ROWS, "valid": "", "test": HEADER + ROWS}, r"valid\.csv is empty"),
    ],
)
def test_nothing_but_empty_files_is_refused(parts: dict[str, str], message: str, tmp_path: Path) -> None:
    write(tmp_path, **parts)
    with pytest.raises(UserError, match=message):
        run(tmp_path)


def test_compression_goes_by_the_name_in_whatever_case(tmp_path: Path) -> None:
    (tmp_path / "logs").mkdir()
    (tmp_path / "logs" / "LOG.CSV.GZ").write_bytes(gzip.compress((HEADER + ROWS).encode()))
    assert run(tmp_path).counts["rows_read"] == 30


def zstd(data: bytes) -> bytes:
    return pa.compress(data, codec="zstd", asbytes=True)


@pytest.mark.parametrize(("ending", "compress"), [(".gz", gzip.compress), (".bz2", bz2.compress), (".zst", zstd)])
def test_compressed_files_and_patterns(ending: str, compress: Callable[[bytes], bytes], tmp_path: Path) -> None:
    for number in range(3):
        rows = "".join(f"{user},{10 * number + item},{(user + item) % 2}\n" for user in range(4) for item in range(3))
        path = tmp_path / "logs" / f"2024-0{number}" / f"log.csv{ending}"
        path.parent.mkdir(parents=True)
        path.write_bytes(compress(f"user_id,item_id,label\n{rows}".encode()))
    dataset = prepared_logs.run(f"{tmp_path}/logs/2024-0[01]/*.csv{ending}")
    assert prepared_logs.labels(dataset) == {
        (u, 10 * n + i): (u + i) % 2 for n in (0, 1) for u in range(4) for i in range(3)
    }
    assert len(dataset.manifest.source) == 2
    with pytest.raises(UserError, match="no file fits the source"):
        prepared_logs.run(f"{tmp_path}/logs/2023-*")
