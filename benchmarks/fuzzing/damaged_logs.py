"""What the package makes of damaged logs, beside a slow reader that shares no code with it.

Every damaged log has to end in a clear error, or in exactly the rows that its whole lines say, the others counted as
rejects.
"""

from __future__ import annotations

import bz2
import gzip
import io
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from benchmarks.fuzzing.slow_reader import Found, read_slowly, split_lines
from benchmarks.fuzzing.small_logs import Log, Row
from distributed_il.core.errors import UserError
from distributed_il.data.prepare.config import PrepareConfig
from distributed_il.data.prepare.sources.files import find_files
from distributed_il.data.prepare.sources.opening import open_source


def read_with_package(directory: Path, file: str, **options: Any) -> tuple[Found, tuple[bool, bool]]:
    """What the package makes of a file.

    Returns:
        Its rows, and whether ids of users and items are integers.

    Raises:
        UserError: It refuses it.
    """
    config = PrepareConfig(source=str(directory / file), output=str(directory / "out"), **options)
    reader = open_source(config, find_files(config))
    rows: list[Row] = []
    integers = (True, True)
    for _, table in reader.tables():
        integers = (pa.types.is_integer(table["user"].type), pa.types.is_integer(table["item"].type))
        values = (table["user"].to_pylist(), table["item"].to_pylist(), table["label"].to_pylist())
        rows += [(str(user), str(item), label) for user, item, label in zip(*values, strict=True)]
    reader.stats.rejects.table(reader.lines)
    return Found(rows, reader.stats.rejects.count), integers


@dataclass(frozen=True, slots=True)
class Case:
    """One damaged log and how it is read."""

    log: Log
    data: bytes
    """As text, or compressed, or Parquet."""
    ending: str = ""
    """Of the compression."""
    max_reject_share: float = 0.0


_UNPACK: dict[str, Callable[[bytes], bytes]] = {"": bytes, ".gz": gzip.decompress, ".bz2": bz2.decompress}


def problem(case: Case, directory: Path) -> str:
    """What is wrong with how the package reads a damaged log.

    Args:
        case: The log.
        directory: Empty; the file is written there and removed.

    Returns:
        The fault; empty where there is none. Other exceptions than `UserError` come through.
    """
    path = directory / (case.log.file + case.ending)
    path.write_bytes(case.data)
    try:
        found, integers = read_with_package(directory, path.name, max_reject_share=case.max_reject_share)
    except UserError as error:
        if not str(error):
            return "an error without words"
        if case.ending:  # readers of archives differ in what they forgive
            return ""
        found, integers = None, (False, False)
    finally:
        path.unlink()
    try:
        data = _UNPACK[case.ending](case.data)
    except (OSError, EOFError, zlib.error, ValueError):
        return "" if found is None else "a damaged archive was read"
    return _fault(case, data, found, integers)


def _fault(case: Case, data: bytes, found: Found | None, integers: tuple[bool, bool]) -> str:
    expected = read_slowly(case.log, data)
    if found is None:
        if expected is None or expected.rejected or expected.doubtful or not expected.rows:
            return ""
        return "a whole log was refused"
    if expected is not None and expected.doubtful:  # lines that are not judged have their say in what ids are
        expected = read_slowly(case.log, data, integers=integers)
    if expected is None and _headerless(case.log, data):
        expected = read_slowly(case.log, case.log.header.encode() + b"\n" + data)
    if expected is None:
        return "" if _columns_still_there(case.log, data) else "a log without its header was read"
    if expected.doubtful:
        missing = [row for row in expected.rows if row not in found.rows]
        return f"rows of whole lines are missing: {missing[:3]}" if missing else ""
    # KuaiRand's rows that were shown at random come apart from the others.
    if case.log.format == "kuairand":
        found = replace(found, rows=sorted(found.rows, key=str))
        expected = replace(expected, rows=sorted(expected.rows, key=str))
    if found.rows != expected.rows:
        wrong = [(ours, slow) for ours, slow in zip(found.rows, expected.rows, strict=False) if ours != slow]
        return f"{len(found.rows)} rows for {len(expected.rows)}, differing first: {wrong[:1]}"
    if found.rejected != expected.rejected:
        return f"{found.rejected} rejects counted for {expected.rejected}"
    return "" if not found.rejected or case.max_reject_share else "bad rows were let through"


def _headerless(log: Log, data: bytes) -> bool:
    """Whether a log of any origin lacks its header, and begins with a number where the user's name stood."""
    first = next(iter(split_lines(data)), b"")
    return log.format == "csv" and first.partition(log.delimiter.encode())[0].isdigit()


def _columns_still_there(log: Log, data: bytes) -> bool:
    """Whether a changed header still names all columns that are read."""
    first = next(iter(split_lines(data)), b"")
    # What stands behind the colon of RecBole's names, a type, is not read.
    names = [name.partition(":")[0].encode() for name in log.header.split(log.delimiter)]
    texts = [text.partition(b":")[0] for text in first.replace(b'"', b"").split(log.delimiter.encode())]
    return all(names[place] in texts for place in log.used)


def parquet_bytes(rows: int = 200) -> bytes:
    """A log as Parquet, whose pages carry checksums."""
    numbers = np.arange(rows)
    table = pa.table(
        {
            "user_id": numbers % 17,
            "item_id": [f"item-{n}" for n in numbers],
            "label": pa.array([(1, 0, None)[n % 3] for n in numbers], pa.int8()),
        }
    )
    sink = io.BytesIO()
    pq.write_table(table, sink, row_group_size=rows // 2, write_page_checksum=True)
    return sink.getvalue()


def parquet_problem(data: bytes, whole: Sequence[Row], directory: Path) -> str:
    """What is wrong with how the package reads a damaged Parquet file: it has its rows, or is refused.

    Args:
        data: The bytes.
        whole: The rows of the undamaged file.
        directory: Empty.
    """
    path = directory / "log.parquet"
    path.write_bytes(data)
    try:
        found, _ = read_with_package(directory, path.name)
    except UserError:
        return ""
    finally:
        path.unlink()
    return "" if found.rows == list(whole) else f"{len(found.rows)} rows, other than those of the whole file"
