"""Numbers external ids without holding them all: they pass through files, in ranges small enough to sort.

A piece of rows is numbered by itself; its distinct ids are written to files by range. At the end, range after range is
sorted, which gives every id its dense number, and every piece a map from its own numbers to those.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from distributed_il.core.arrow_compute import pc
from distributed_il.core.errors import UserError
from distributed_il.core.plain_arrow import open_arrow_file, open_arrow_stream
from distributed_il.core.radix_sort import sort_into_groups

Vocabulary: TypeAlias = pa.Array | pa.ChunkedArray
"""External ids; place k is dense id k."""
RANGE_BYTES = 64 << 20
"""A range that is larger is cut again before it is sorted."""
_RANGES = 64
_PREFIX_BYTES = 32
"""Bytes of a string that its range follows from."""
_SLICE = 1 << 20
_CURE = "prepare again"


@dataclass(frozen=True, slots=True)
class Numbering:
    """The dense ids of all pieces."""

    vocabulary: pa.ChunkedArray
    """External ids, mapped from a file: those known before in their order, then the new ones ascending."""
    rows: NDArray[np.int64]
    """int64 [ids]: rows of each."""
    _maps: NDArray[np.int32]
    _starts: NDArray[np.int64]

    def dense(self, piece: int, codes: NDArray[np.int32]) -> NDArray[np.int32]:
        """Dense ids of a piece's own numbers."""
        start = self._starts[piece]
        return self._maps[start : self._starts[piece + 1]][codes]


class ExternalIds:
    """Collects the ids of users or of items, and numbers them."""

    def __init__(self, entity: str, directory: Path, known: Vocabulary | None = None) -> None:
        """Starts with the ids of an earlier dataset, which keep their numbers; makes the local directory."""
        directory.mkdir()
        self._entity, self._directory = entity, directory
        self._kind: pa.DataType | None = None
        self._ranges: _Ranges | None = None
        self._sizes: list[int] = []
        self._known = None if known is None else _chunked(known)
        if self._known is not None:
            for start in range(0, len(self._known), _SLICE):
                ids = self._known.slice(start, _SLICE).combine_chunks()
                codes = np.arange(start, start + len(ids), dtype=np.int32)
                self._file(ids, -1, codes, np.zeros(len(ids), dtype=np.int32))

    def encode(self, ids: pa.Array) -> NDArray[np.int32]:
        """Numbers the ids of the next piece, within the piece: int32 [n].

        Args:
            ids: int64 from 0 up, or string, the same at each call, without nulls; maybe dictionary-encoded.

        Raises:
            UserError: Integers and strings are mixed.
        """
        encoded = pc.dictionary_encode(ids)
        codes = encoded.indices.to_numpy()
        size = len(encoded.dictionary)
        rows = np.bincount(codes, minlength=size).astype(np.int32)
        self._file(encoded.dictionary, len(self._sizes), np.arange(size, dtype=np.int32), rows)
        self._sizes.append(size)
        return codes

    def _file(self, ids: pa.Array, piece: int, codes: NDArray[np.int32], rows: NDArray[np.int32]) -> None:
        if self._kind is None:
            self._kind = ids.type
        if self._kind != ids.type:
            raise UserError(
                f"{self._entity} ids are {self._kind} in one file and {ids.type} in another; "
                "set id_type to string, or make them alike"
            )
        if not len(ids):
            return
        if self._ranges is None:
            self._ranges = _Ranges(self._directory / "range", ids)
        pieces = np.full(len(ids), piece, dtype=np.int32)
        self._ranges.add(pa.table({"id": ids, "piece": pieces, "code": codes, "rows": rows}))

    def finish(self) -> Numbering:
        """Gives all ids their numbers; the files of the numbering stay until the directory goes."""
        assert self._ranges is not None
        assert self._kind is not None
        starts = np.concatenate(([0], np.cumsum(self._sizes, dtype=np.int64)))
        maps = np.memmap(self._directory / "maps", dtype=np.int32, mode="w+", shape=max(int(starts[-1]), 1))
        known = 0 if self._known is None else len(self._known)
        rows = [np.zeros(known, dtype=np.int64)]
        next_number = known
        schema = pa.schema([("id", self._kind)])
        path = str(self._directory / "vocabulary")
        with pa.OSFile(path, "wb") as sink, pa.ipc.new_file(sink, schema) as writer:
            for start in range(0, known, _SLICE):
                writer.write_table(pa.table({"id": self._known.slice(start, _SLICE)}, schema=schema))  # type: ignore[union-attr]
            for table in self._ranges.tables():
                found = _Range(table, next_number)
                maps[starts[found.pieces] + found.codes] = found.numbers
                rows[0][found.known_numbers] += found.known_rows
                rows.append(found.new_rows)
                next_number += len(found.new_ids)
                writer.write_table(pa.table({"id": found.new_ids}, schema=schema))
        vocabulary = open_arrow_file(pa.memory_map(path), path, _CURE).read_all().column(0)
        return Numbering(vocabulary, np.concatenate(rows), maps, starts)


class _Range:
    """The ids of one range, sorted and numbered."""

    def __init__(self, table: pa.Table, first: int) -> None:
        encoded = pc.dictionary_encode(table.column("id").combine_chunks())
        places = encoded.indices.to_numpy()
        pieces, codes = table.column("piece").to_numpy(), table.column("code").to_numpy()
        rows = np.bincount(places, weights=table.column("rows").to_numpy(), minlength=len(encoded.dictionary))
        number_of = np.full(len(encoded.dictionary), -1, dtype=np.int64)
        number_of[places[pieces < 0]] = codes[pieces < 0]
        order = pc.sort_indices(encoded.dictionary).to_numpy().astype(np.int64)
        new = order[number_of[order] < 0]
        self.known_numbers = number_of[number_of >= 0]
        self.known_rows = rows[number_of >= 0].astype(np.int64)
        number_of[new] = np.arange(first, first + new.size)
        self.new_ids = encoded.dictionary.take(pa.array(new))
        self.new_rows = rows[new].astype(np.int64)
        self.pieces, self.codes = pieces[pieces >= 0], codes[pieces >= 0]
        self.numbers = number_of[places[pieces >= 0]].astype(np.int32)


class _Ranges:
    """Tables of ids in files by range, the ranges ascending."""

    def __init__(self, directory: Path, sample: pa.Array) -> None:
        """Cuts where the sample says; any sample does, a good one makes ranges of one size."""
        directory.mkdir()
        self._directory = directory
        keys = np.unique(_keys(sample))
        self._cuts = np.unique(keys[np.linspace(0, keys.size, _RANGES, endpoint=False).astype(np.int64)[1:]])
        self._sinks: dict[int, tuple[Any, Any]] = {}

    def add(self, table: pa.Table) -> None:
        """Files rows by their ids."""
        ranges = np.searchsorted(self._cuts, _keys(table.column("id").combine_chunks()), side="right")
        order, borders = sort_into_groups(ranges, self._cuts.size + 1)
        table = table.take(pa.array(order))
        for number, (start, end) in enumerate(pairwise(borders.tolist())):
            if end > start:
                self._writer(number, table.schema).write_table(table.slice(start, end - start))

    def _writer(self, number: int, schema: pa.Schema) -> Any:
        if number not in self._sinks:
            sink = pa.OSFile(str(self._directory / str(number)), "wb")
            self._sinks[number] = (sink, pa.ipc.new_stream(sink, schema))
        return self._sinks[number][1]

    def tables(self) -> Iterator[pa.Table]:
        """All rows, range by range; the files go."""
        for sink, writer in self._sinks.values():
            writer.close()
            sink.close()
        for number in sorted(self._sinks):
            path = self._directory / str(number)
            with pa.memory_map(str(path)) as source, open_arrow_stream(source, str(path), _CURE) as batches:
                if path.stat().st_size <= RANGE_BYTES or (finer := self._finer(path, batches)) is None:
                    yield _copied(path)
                else:
                    yield from finer.tables()
            path.unlink()
        self._directory.rmdir()

    def _finer(self, path: Path, batches: Any) -> _Ranges | None:
        """The range cut again; None where its ids are too alike to be cut."""
        finer: _Ranges | None = None
        sample = _sample(path)
        if np.unique(_keys(sample)).size < 2:
            return None
        for batch in batches:
            finer = finer or _Ranges(path.with_name(f"{path.name}-finer"), sample)
            finer.add(pa.Table.from_batches([batch]))
        return finer


def _sample(path: Path) -> pa.Array:
    """Some ids from all over a file."""
    with pa.memory_map(str(path)) as source, open_arrow_stream(source, str(path), _CURE) as batches:
        parts = [batch.column("id").take(pa.array(range(0, len(batch), len(batch) // 64 + 1))) for batch in batches]
    return pa.concat_arrays(parts)


def _copied(path: Path) -> pa.Table:
    with pa.OSFile(str(path), "rb") as source, open_arrow_stream(source, str(path), _CURE) as batches:
        return batches.read_all()


def _chunked(ids: Vocabulary) -> pa.ChunkedArray:
    return ids if isinstance(ids, pa.ChunkedArray) else pa.chunked_array([ids])


def _keys(ids: pa.Array) -> NDArray[Any]:
    """What orders ids coarsely: integers themselves, of strings the first bytes."""
    if ids.type == pa.int64():
        return ids.to_numpy()
    ids = pa.concat_arrays([ids])  # without an offset
    offsets = np.frombuffer(ids.buffers()[1], dtype=np.int32)[: len(ids) + 1].astype(np.int64)
    data = np.frombuffer(ids.buffers()[2] or b"", dtype=np.uint8)
    places = offsets[:-1, None] + np.arange(_PREFIX_BYTES)
    inside = places < offsets[1:, None]
    matrix = np.where(inside, data[np.minimum(places, max(data.size - 1, 0))] if data.size else 0, 0)
    return np.ascontiguousarray(matrix.astype(np.uint8)).view(f"S{_PREFIX_BYTES}").ravel()
