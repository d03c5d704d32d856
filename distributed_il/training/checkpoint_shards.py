"""Embedding tables as files: each part says which rows it holds, so that any ranks can write and any others read."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from pyarrow import fs as pafs
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor

from distributed_il.core.config import OptimizerConfig
from distributed_il.core.errors import UserError
from distributed_il.core.files import write_atomically
from distributed_il.models.embedding.row_adam import Rows, catch_up
from distributed_il.models.embedding.table import EmbeddingTable
from distributed_il.training.checkpoint_parts import TableName, TablePart

PART_BYTES = 2**26
"""Rows of a part have no more bytes than this, unless one row has; it bounds what is held beside the table."""


class SavedTable(NamedTuple):
    """The files of one embedding table in a checkpoint."""

    fs: pafs.FileSystem
    place: str  # the checkpoint's directory
    name: TableName
    parts: Sequence[TablePart]

    @classmethod
    def of(cls, fs: pafs.FileSystem, manifest: Mapping[str, Any], name: TableName) -> SavedTable:
        """Finds the files by the checkpoint's manifest."""
        parts = (TablePart(**part) for part in manifest["parts"])
        return cls(fs, manifest["place"], name, [part for part in parts if part.table == name])

    def check_sizes(self, files: Mapping[str, int], rows: int, row_bytes: int) -> None:
        """Refuses parts that can't hold what they say, before memory is asked for the table.

        Args:
            files: Bytes of each file, by its name without ending.
            rows: Of the table.
            row_bytes: That a packed row takes at least.

        Raises:
            UserError: A part has too few bytes for its rows, or the parts other rows in all.
        """
        for part in self.parts:
            size = files.get(part.file, 0)
            if not 0 <= part.rows * row_bytes <= size:
                raise UserError(
                    f"checkpoint {self.place}/manifest.json: {part.file} has {size:,} bytes, too few for {part.rows:,} "
                    f"rows of {row_bytes:,} bytes; restore it, or start under another run.dir"
                )
        _require_all(self, sum(part.rows for part in self.parts), rows)


def file_name(stem: str) -> str:
    """Name of a file of tensors."""
    return f"{stem}.safetensors"


def write_parts(
    fs: pafs.FileSystem, place: str, name: TableName, table: EmbeddingTable, *, rank: int, world_size: int
) -> list[TablePart]:
    """Writes this rank's share of a table: the rows that it alone holds, or, of what all hold, every W-th part."""
    held = table.rows
    row_bytes = table.packed.shape[1] * table.packed.element_size() + table.last_step.element_size()
    size = max(1, PART_BYTES // row_bytes)
    starts = list(enumerate(range(0, len(held), size)))
    # A rank's parts are numbered rank, rank + W, …, whether it holds them alone or not.
    mine = starts[rank::world_size] if held.step == 1 else [(rank + k * world_size, start) for k, start in starts]
    parts: list[TablePart] = []
    for number, start in mine:
        rows, stem = held[start : start + size], f"{name}-{number:05d}"
        tensors = {"packed": table.packed, "last_step": table.last_step}
        content = save({key: tensor[start : start + size].cpu().contiguous() for key, tensor in tensors.items()})
        write_atomically(fs, f"{place}/{file_name(stem)}", content)
        where = {"first": rows[0], "stride": rows.step, "rows": len(rows)}
        parts.append(TablePart(file=stem, table=name, **where, bytes=len(content), sha256=sha256(content)))
    return parts


def read_table(saved: SavedTable, table: EmbeddingTable, *, rows_there: int | None = None) -> None:
    """Fills the rows held here from the parts that have some of them, whoever wrote those.

    The checkpoint's table has `rows_there` rows, where this one may have more: those are left alone.

    Raises:
        UserError: A part is damaged, or rows are missing.
    """
    held, found = table.rows, 0
    wanted = held if rows_there is None else range(held.start, min(held.stop, rows_there), held.step)
    for part in saved.parts:
        rows = common_numbers(part.numbers, held)
        if not rows:
            continue
        tensors = _read_part(saved, part, table.packed.shape[1])
        source, target = _places(rows, part.numbers), _places(rows, held)
        table.packed[target] = tensors["packed"][source].to(table.packed.device)
        table.last_step[target] = tensors["last_step"][source].to(table.packed.device)
        found += len(rows)
    _require_all(saved, found, len(wanted))


def read_weights(saved: SavedTable, weights: Tensor, *, step: int, optimizer: OptimizerConfig) -> None:
    """Fills `weights` [rows, dim] with those of a whole table, every row brought up to `step`.

    One part at a time is held beside them.

    Raises:
        UserError: A part is damaged, or rows are missing.
    """
    _require_all(saved, sum(part.rows for part in saved.parts), len(weights))
    rates = {"learning_rate": optimizer.learning_rate, "weight_decay": optimizer.weight_decay}
    for part in saved.parts:
        tensors = _read_part(saved, part, 3 * weights.shape[1])
        packed = Rows.of(tensors["packed"])
        if optimizer.missed_steps == "catch_up":
            catch_up(packed, tensors["last_step"], step=step, **rates)
        weights[part.first : part.numbers[-1] + 1 : part.stride] = packed.weight


def _read_part(saved: SavedTable, part: TablePart, width: int) -> dict[str, Tensor]:
    path = f"{saved.place}/{file_name(part.file)}"
    tensors = read_verified(saved.fs, path, part.sha256)
    if tensors["packed"].shape != (part.rows, width):
        raise UserError(
            f"checkpoint file {path} holds rows {tuple(tensors['packed'].shape)} where {(part.rows, width)} should be; "
            "restore it, or start under another run.dir"
        )
    return tensors


def _require_all(saved: SavedTable, found: int, wanted: int) -> None:
    if found != wanted:
        raise UserError(
            f"checkpoint {saved.place} holds {found:,} of {wanted:,} rows of {saved.name} that belong here; restore "
            "its manifest.json, or start under another run.dir"
        )


def sha256(content: bytes) -> str:
    """Returns the hexadecimal SHA-256 of a file's content."""
    return hashlib.sha256(content).hexdigest()


def read_tensors(fs: pafs.FileSystem, manifest: Mapping[str, Any], stem: str) -> dict[str, Tensor]:
    """Reads a checkpoint's `tower` or `state`.

    Raises:
        UserError: The file is missing or damaged.
    """
    return read_verified(fs, f"{manifest['place']}/{file_name(stem)}", manifest.get("sha256", {}).get(stem, ""))


def read_verified(fs: pafs.FileSystem, path: str, expected: str) -> dict[str, Tensor]:
    """Reads a file of tensors.

    Args:
        fs: Where it lies.
        path: Of the file.
        expected: Its SHA-256, hexadecimal; empty where none is known.

    Raises:
        UserError: It is no such file, or a damaged one.
    """
    try:
        with fs.open_input_file(path) as stream:
            content = stream.read()
        if expected and sha256(content) != expected:
            raise OSError("its content is not what was written: the hashes differ")
        return load(content)
    except (OSError, SafetensorError) as error:
        raise UserError(
            f"checkpoint file {path} can't be read ({error}); restore it, or start under another run.dir"
        ) from error


def common_numbers(one: range, other: range) -> range:
    """Returns the numbers that two ascending ranges share."""
    skipped = max(0, -((one.start - other.start) // one.step))
    # Modulo other.step the numbers of `one` repeat after other.step of them at the latest.
    first = next((number for number in one[skipped : skipped + other.step] if number in other), None)
    if first is None:
        return range(0)
    return range(first, min(one.stop, other.stop), math.lcm(one.step, other.step))


def _places(numbers: range, within: range) -> slice:
    """Where some of a range's numbers stand in it."""
    return slice(within.index(numbers[0]), within.index(numbers[-1]) + 1, numbers.step // within.step)
