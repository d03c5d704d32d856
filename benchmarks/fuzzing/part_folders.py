"""Folders of part files, hidden, empty and misplaced ones among them, with times of one kind or of several.

What `prepare` has to read is told by Python's own `glob` and by what was written: all rows of the files that fit, in
the order of their moments; or an error where times are of two kinds, or nothing is there to be read.
"""

from __future__ import annotations

import datetime
import glob
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from distributed_il.core.errors import UserError
from distributed_il.data.prepare.config import PrepareConfig
from distributed_il.data.prepare.sources.files import find_files
from distributed_il.data.prepare.sources.opening import open_source

_START, _DAY = 1_717_200_000, 86_400
_FOLDERS = ("", "", "", "a/", "a/", "a/b/", ".git/", "a/.b/", "c d/")
_NAMES = ("p", "p", "P", "_p", ".p", "p[x]")
_ENDINGS = (*(".csv", ".CSV", ".parquet") * 6, "")
_PATTERNS = (
    *("", "", "*", "*.csv", "*.[cC]*", "**", "**/*", "**/*.csv", "**/*.parquet", "a/*", "a/**/*.csv", "a/**"),
    *("*/*", "*/*/*.csv", ".*", ".*/*", "**/.*", "**/.*/*", "?1*", "[_.]*", "p[0-2]*", "**/b/*", "[!p]*"),
)
_BAD = ("yesterday", "inf", "nan", "2024-13-01", "", "12:30")
"""Texts that are no time."""


def _date(second: int) -> datetime.datetime:
    return datetime.datetime.fromtimestamp(second, datetime.UTC).replace(tzinfo=None)


@dataclass(frozen=True, slots=True)
class Kind:
    """A way to write a time, of seconds since 1970.

    Attributes:
        group: Ways of one group may stand side by side.
        write: Makes the value.
        type: Of a Parquet column of such.
    """

    group: str
    write: Callable[[int], Any]
    type: pa.DataType


def _unit(name: str, factor: int) -> Kind:
    return Kind(name, lambda second: second * factor, pa.int64())


_UNITS = (_unit("s", 1), _unit("ms", 1_000), _unit("us", 1_000_000), _unit("ns", 1_000_000_000))
_KINDS = (
    Kind("dates", lambda second: str(_date(second)), pa.string()),
    Kind("dates", lambda second: _date(second).isoformat(), pa.string()),
    Kind("dates", lambda second: f"{_date(second)}.250", pa.string()),
    Kind("dates", lambda second: str(_date(second).date()), pa.string()),
    *(Kind("dates", _date, pa.timestamp(unit)) for unit in ("s", "ms", "us", "ns")),
    Kind("dates", lambda second: _date(second).date(), pa.date32()),
    *_UNITS,
    Kind("s", lambda second: second + 0.5, pa.float64()),
    Kind("ms", lambda second: str(second * 1_000), pa.string()),
    Kind("count", lambda second: second - _START, pa.int64()),
)
_COUNT = len(_KINDS) - 1  # from a start of its own: what else stands beside it can't be told


@dataclass(frozen=True, slots=True)
class Part:
    """What was written to a file: the group and the moment of each item whose time is one, and how many have none."""

    moments: Mapping[str, tuple[str, int]]
    bad: int


def folder_problem(rng: np.random.Generator, directory: Path) -> str:
    """Writes a folder and says what is wrong with how the package reads it; nothing where there is nothing.

    Args:
        rng: Decides what it holds, and the pattern.
        directory: Empty.
    """
    parts = _write(rng, directory)
    patterns = [str(pattern) for pattern in rng.choice(_PATTERNS, 3)]
    # One that fits something, most of the time.
    pattern = max(patterns, key=lambda pattern: len(_fitting(parts, directory, pattern)))
    share = float(rng.choice([0.0, 0.999]))
    config = PrepareConfig(
        source=str(directory / pattern) if pattern else str(directory),
        output="out",
        split="time",
        max_reject_share=share,
    )
    due = _due(parts, directory, pattern, share)
    try:
        reader = open_source(config, find_files(config))
        found: dict[str, float] = {}
        for _, table in reader.tables():
            found |= dict(zip(table["item"].to_pylist(), _numbers(table["time"]), strict=True))
        counted = (reader.stats.rejects.count, reader.empty_files)
    except UserError as error:
        return "" if due is None else f"{pattern!r}: refused, {error}"
    if due is None:
        return f"{pattern!r} was read: {len(found)} rows of {sorted(parts)}"
    moments, expected = due
    if found.keys() != moments.keys():
        return f"{pattern!r}: other rows than those of the files that fit: {sorted(found.keys() ^ moments.keys())[:3]}"
    if sorted(found, key=found.__getitem__) != sorted(moments, key=moments.__getitem__):
        return f"{pattern!r}: the rows are in another order than their times"
    return "" if counted == expected else f"{pattern!r}: rejects and empty files {counted} for {expected}"


def _due(
    parts: Mapping[str, Part], directory: Path, pattern: str, share: float
) -> tuple[dict[str, int], tuple[int, int]] | None:
    """Each item with its moment, rejects and files without rows; None where an error is due."""
    names = _fitting(parts, directory, pattern)
    endings = {Path(name).suffix.lower() for name in names}
    if not names or "" in endings or (not pattern and len(endings) > 1):
        return None
    read = [parts[name] for name in names]
    moments = {item: moment for part in read for item, (_, moment) in part.moments.items()}
    groups = {group for part in read for group, _ in part.moments.values()}
    bad = sum(part.bad for part in read)
    if not moments or len(groups) > 1 or (bad and not share):
        return None
    return moments, (bad, sum(not part.moments and not part.bad for part in read))


def _fitting(parts: Mapping[str, Part], directory: Path, pattern: str) -> list[str]:
    """The files that a pattern takes, or without one, the directory."""
    if pattern:
        return [name for name in glob.glob(pattern, root_dir=directory, recursive=True) if name in parts]
    return [name for name in parts if "/" not in name and name[0] not in "._" and "." in name]


def _numbers(times: pa.ChunkedArray) -> list[float]:
    if pa.types.is_timestamp(times.type):
        times = times.cast(pa.timestamp("us")).cast(pa.int64())
    return times.to_pylist()


def _write(rng: np.random.Generator, directory: Path) -> dict[str, Part]:
    """Writes some files; returns what they hold by their names."""
    common = int(rng.integers(len(_KINDS)))
    mixed = common != _COUNT and rng.random() < 0.3
    days, parts = iter(rng.permutation(80).tolist()), dict[str, Part]()
    for number in range(int(rng.integers(1, 8))):
        ending = str(rng.choice(_ENDINGS))
        name = f"{rng.choice(_FOLDERS)}{rng.choice(_NAMES)}{number}{ending}"
        (directory / name).parent.mkdir(parents=True, exist_ok=True)
        kind = _KINDS[int(rng.integers(_COUNT)) if mixed else common]
        seconds = [_START + next(days) * _DAY + int(rng.integers(_DAY)) for _ in range(int(rng.choice([0, 1, 4, 9])))]
        rows = {f"i{number}-{place}": second for place, second in enumerate(seconds)}
        kinds = dict.fromkeys(rows, kind)
        if mixed and ending != ".parquet" and rng.random() < 0.2:
            kinds = {item: _UNITS[int(rng.integers(len(_UNITS)))] for item in rows}
        bad = {item for item in rows if rng.random() < 0.02}
        values = {
            item: kinds[item].write(second) if item not in bad else _no_time(rng, kind, ending)
            for item, second in rows.items()
        }
        if ending == ".parquet":
            _write_parquet(directory / name, values, kind)
        else:
            header = "user_id,item_id,label,timestamp\n" if rows or rng.random() < 0.5 else ""
            lines = [f"u{place % 3},{item},{place % 2},{value}\n" for place, (item, value) in enumerate(values.items())]
            (directory / name).write_text(header + "".join(lines))
        parts[name] = Part({item: (kinds[item].group, rows[item]) for item in rows if item not in bad}, len(bad))
    return parts


def _no_time(rng: np.random.Generator, kind: Kind, ending: str) -> str | None:
    text = str(rng.choice(_BAD))
    return text if ending != ".parquet" or kind.type == pa.string() else None


def _write_parquet(path: Path, values: Mapping[str, Any], kind: Kind) -> None:
    columns = {
        "user_id": pa.array([f"u{place % 3}" for place in range(len(values))], pa.string()),
        "item_id": pa.array(values.keys(), pa.string()),
        "label": pa.array([place % 2 for place in range(len(values))], pa.int8()),
        "timestamp": pa.array(values.values(), kind.type),
    }
    pq.write_table(pa.table(columns), path)
