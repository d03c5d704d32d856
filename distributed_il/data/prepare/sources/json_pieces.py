"""Reads JSON Lines, an object in each line, in pieces."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.json as pajson

from distributed_il.core.arrow_compute import pc
from distributed_il.core.errors import UserError
from distributed_il.data.prepare.sources.line_pieces import LinePieces
from distributed_il.data.prepare.sources.pieces import Part, Piece, SetAside
from distributed_il.data.prepare.sources.text_lines import SUBSTITUTE, line_numbers

_SHOWN = 80
_NO_OBJECT = "is no JSON object; write an object in each line, as `jq -c '.[]'` makes of a list"


class JsonPieces(LinePieces):
    """One file of JSON Lines; members of objects that some lines lack are missing there."""

    typed = True

    def read(self, columns: list[str], set_aside: SetAside | None = None, part: Part | None = None) -> Iterator[Piece]:
        before = 0
        for lines in self._blocks():
            table = _parsed(lines, columns)
            good = np.arange(len(lines))
            if table is None:
                objects = [_object(line) for line in lines.to_pylist()]
                self._refuse(lines, objects, before, set_aside)
                good = np.flatnonzero([found is not None for found in objects])
                table = _columns([found for found in objects if found is not None], columns)
            yield Piece(table, before + good)
            before += len(lines)

    def lines(self, rows: Sequence[int], start: int = 0) -> list[int]:
        return line_numbers(self._fs, self._file.path, [row + 1 for row in rows], encoding=self._encoding)

    def _columns_of(self, lines: pa.Array) -> list[str]:
        table = _table(lines, {})
        if table is not None:
            return table.column_names
        objects = [_object(line) or {} for line in lines.to_pylist()]
        if not any(objects):
            self._refuse(lines, [_object(line) for line in lines.to_pylist()], 0, None)
        return list(dict.fromkeys(name for found in objects for name in found))

    def _refuse(
        self, lines: pa.Array, objects: list[dict[str, Any] | None], before: int, set_aside: SetAside | None
    ) -> None:
        for number, found in enumerate(objects):
            if found is not None:
                continue
            text = lines[number].as_py().replace(SUBSTITUTE, "\ufffd")[:_SHOWN]
            if set_aside is None:
                raise UserError(f"{self.place(before + number)}: {text!r} {_NO_OBJECT}")
            set_aside(before + number, text, f"the line {_NO_OBJECT}")


def _parsed(lines: pa.Array, columns: Sequence[str]) -> pa.RecordBatch | None:
    """Returns columns of lines; None where a line is no object, or one column has text and numbers."""
    table = _table(lines, {})
    # Arrow makes timestamps of text that looks like one; it is to stay as it is written.
    dates = {} if table is None else {name: pa.string() for name in columns if _is_date(table, name)}
    if dates:
        table = _table(lines, dates)
    if table is None:
        return None
    return pa.record_batch({name: _column(table, name) for name in columns})


def _table(lines: pa.Array, types: dict[str, pa.DataType]) -> pa.Table | None:
    data = "\n".join(lines.to_pylist()).encode()
    if SUBSTITUTE.encode() in data:
        return None
    try:
        table = pajson.read_json(
            io.BytesIO(data),
            read_options=pajson.ReadOptions(use_threads=False, block_size=len(data) + 1),
            parse_options=pajson.ParseOptions(explicit_schema=pa.schema(types)),
        )
    except pa.ArrowInvalid:
        return None
    return table if table.num_rows == len(lines) else None


def _is_date(table: pa.Table, name: str) -> bool:
    return name in table.column_names and pa.types.is_timestamp(table.schema.field(name).type)


def _column(table: pa.Table, name: str) -> pa.Array:
    if name not in table.column_names or pa.types.is_null(table.schema.field(name).type):
        return pa.nulls(table.num_rows, pa.string())
    return table.column(name).combine_chunks()


def _object(line: str) -> dict[str, Any] | None:
    try:
        found = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else None


def _columns(objects: list[dict[str, Any]], columns: Sequence[str]) -> pa.RecordBatch:
    """Makes columns of objects; numbers beside text become text as integers are written, 7.0 as 7."""
    found: dict[str, pa.Array] = {}
    for name in columns:
        values = [one.get(name) for one in objects]
        try:
            array = pa.array(values)
        except (pa.ArrowException, OverflowError):
            array = pa.array([None if value is None else _text(value) for value in values], pa.string())
        found[name] = pc.cast(array, pa.string()) if pa.types.is_null(array.type) else array
    return pa.record_batch(found)


def _text(value: Any) -> str:
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return value if isinstance(value, str) else json.dumps(value)
