"""Reads folders partitioned as Hive does, `date=2024-01-01/part-0.parquet`, whose keys are columns of their files."""

from __future__ import annotations

import posixpath
from collections.abc import Iterator, Mapping, Sequence
from urllib.parse import unquote

import pyarrow as pa

from distributed_il.data.prepare.sources.pieces import Part, Piece, RawPieces, SetAside

_NULL = "__HIVE_DEFAULT_PARTITION__"
"""What Hive writes for null."""


def keys_of(name: str) -> dict[str, str | None]:
    """Returns the keys that the folders of a path have, and their values, None where Hive writes its null."""
    folders = [folder.partition("=") for folder in posixpath.dirname(name).split("/") if folder.find("=") > 0]
    return {key: None if value == _NULL else unquote(value) for key, _, value in folders}


class PartitionedPieces(RawPieces):
    """A raw file beside the keys of its folders, which its own columns prevail over."""

    def __init__(self, pieces: RawPieces, keys: Mapping[str, str | None]) -> None:
        """Reads nothing yet."""
        self._pieces, self._values = pieces, keys
        self.typed, self.has_header, self.note = pieces.typed, pieces.has_header, pieces.note
        self.keys = tuple(keys)

    def columns(self) -> list[str]:
        own = self._pieces.columns()
        return own + [name for name in self._values if name not in own]

    def require_plain(self, columns: Sequence[str]) -> None:
        self._pieces.require_plain(self._own(columns))

    def require_here(self) -> None:
        self._pieces.require_here()

    def num_rows(self) -> int:
        return self._pieces.num_rows()

    def parts(self, rows: int, size: int) -> list[Part]:
        return self._pieces.parts(rows, size)

    def read(self, columns: list[str], set_aside: SetAside | None = None, part: Part | None = None) -> Iterator[Piece]:
        own = self._own(columns)
        for piece in self._pieces.read(own, set_aside, part):
            found = {name: piece.batch.column(name) for name in own}
            for name in set(columns) - found.keys():
                found[name] = pa.repeat(pa.scalar(self._values[name], pa.string()), piece.num_rows)
            yield Piece(pa.record_batch({name: found[name] for name in columns}), piece.rows)

    def lines(self, rows: Sequence[int], start: int = 0) -> list[int]:
        return self._pieces.lines(rows, start)

    def place(self, row: int, part: Part | None = None) -> str:
        return self._pieces.place(row, part)

    def _own(self, columns: Sequence[str]) -> list[str]:
        there = self._pieces.columns()
        return [name for name in columns if name in there] or there[:1]
