"""What files' names tell: their formats, and whether they fit a pattern."""

from __future__ import annotations

import fnmatch
from collections.abc import Sequence

from distributed_il.core.errors import UserError
from distributed_il.data.prepare.config import FileFormat, Format
from distributed_il.data.prepare.sources.known_logs import log_of_name, plain_name

_SUFFIXES: dict[str, FileFormat] = {
    ".rating": "triples",
    ".negative": "triples",
    ".csv": "csv",
    ".tsv": "csv",
    ".txt": "csv",
    ".inter": "recbole",
    ".jsonl": "json",
    ".ndjson": "json",
    ".json": "json",
    ".parquet": "parquet",
    ".pq": "parquet",
}


def format_of_name(name: str) -> FileFormat | None:
    """Returns the format that a file's ending tells, whatever its compression; None where it tells none."""
    return next((kind for suffix, kind in _SUFFIXES.items() if plain_name(name).endswith(suffix)), None)


def format_of(name: str, wanted: Format) -> FileFormat:
    """Returns the format that is wanted, or else the one that a name tells; raises `UserError` where it tells none."""
    if wanted != "auto":
        return wanted
    log = log_of_name(name)
    if log is not None:
        return log.format
    found = format_of_name(name)
    if found is None:
        raise UserError(f"{name}: the name does not tell the format; give format, such as csv or parquet")
    return found


def plain_format_of(name: str) -> FileFormat:
    """Returns the format of a file that is no log of its own: `parquet`, `json`, or else `csv`."""
    kind = format_of_name(name)
    return kind if kind in ("parquet", "json") else "csv"


def without_json(names: Sequence[str]) -> list[str]:
    """Returns the files that are no JSON."""
    return [name for name in names if format_of_name(name) != "json"]


def in_partitions(name: str) -> bool:
    """Returns whether all folders of a path are partitions."""
    return all(folder.find("=") > 0 for folder in name.split("/")[:-1])


def fits(name: str, pattern: str) -> bool:
    """Returns whether a path fits a pattern by the rules of shells.

    `*` stays within a folder and `**` crosses folders; hidden names fit only where the pattern has their dot.
    """
    return _fits(name.split("/"), pattern.split("/"))


def _fits(parts: list[str], patterns: list[str]) -> bool:
    if not patterns or not parts:
        return not parts and all(pattern == "**" for pattern in patterns)
    hidden = parts[0].startswith(".")
    if patterns[0] == "**":
        return _fits(parts, patterns[1:]) or (not hidden and _fits(parts[1:], patterns))
    seen = not hidden or patterns[0].startswith(".")
    return seen and fnmatch.fnmatchcase(parts[0], patterns[0]) and _fits(parts[1:], patterns[1:])
