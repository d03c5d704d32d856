"""A rank's held-out rows (training-test), in a local file: mapped, not held in memory, whatever their number."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from distributed_il.core.record_file import RecordFile
from distributed_il.data.dataset import Block
from distributed_il.data.lanes import key_order, row_keys


@dataclass(frozen=True, slots=True)
class LabelledRows:
    """Labelled rows of one lane."""

    numbers: NDArray[np.int64]  # global row numbers, int64 [n]
    user_ids: NDArray[np.integer]  # int32 or int64 [n]
    item_ids: NDArray[np.integer]  # int32 or int64 [n]
    labels: NDArray[np.integer]  # 0 or 1, [n]
    weights: NDArray[np.floating] | None = None  # above 0, [n]; None where rows have no weights

    def __len__(self) -> int:
        return self.numbers.size

    def take(self, index: NDArray[np.integer] | NDArray[np.bool_] | slice) -> LabelledRows:
        """Selects rows."""
        weights = None if self.weights is None else self.weights[index]
        return LabelledRows(
            self.numbers[index], self.user_ids[index], self.item_ids[index], self.labels[index], weights
        )

    @classmethod
    def join(cls, parts: list[LabelledRows]) -> LabelledRows:
        """Concatenates rows, all with weights or none."""
        if len(parts) == 1:
            return parts[0]
        weights = [part.weights for part in parts if part.weights is not None]
        return cls(
            np.concatenate([part.numbers for part in parts]),
            np.concatenate([part.user_ids for part in parts]),
            np.concatenate([part.item_ids for part in parts]),
            np.concatenate([part.labels for part in parts]),
            np.concatenate(weights) if weights else None,
        )


RECORD = np.dtype([("number", np.int64), ("user_id", np.int32), ("item_id", np.int32), ("label", np.int8)])
WEIGHTED_RECORD = np.dtype([*((name, RECORD[name]) for name in RECORD.names or ()), ("weight", np.float32)])
SLICE_ROWS = 65_536
"""Rows of a lane that are shuffled at a time; as many as a block of the training-train pass commonly has."""


class HeldOutRows:
    """The held-out rows of every lane, one lane after the other, each in its own order.

    Blocks come in any order, and each once: the training-train pass, which reads every block anyway, hands its
    training-test rows over. A pass over the file costs no reading of the dataset.
    """

    def __init__(
        self, lanes: Mapping[int, Sequence[Block]], count: Callable[[Block], int], *, weighted: bool = False
    ) -> None:
        """Lays out the file for the `count` held-out rows of each block; nothing is written yet.

        `weighted`: whether rows have weights.
        """
        self._offsets: dict[Block, int] = {}
        self._bounds: dict[int, tuple[int, int]] = {}
        end = 0
        for lane, blocks in lanes.items():
            start = end
            for block in blocks:
                self._offsets[block] = end
                end += count(block)
            self._bounds[lane] = start, end
        self._missing = dict.fromkeys(self._offsets)
        self._record = WEIGHTED_RECORD if weighted else RECORD
        self._file = RecordFile(self._record, "the training-test rows")

    @property
    def missing(self) -> list[Block]:
        """Blocks whose rows have not been added."""
        return list(self._missing)

    def lacks(self, block: Block) -> bool:
        """Returns whether the rows of a block have not been added."""
        return block in self._missing

    def add(self, block: Block, rows: LabelledRows) -> None:
        """Writes the held-out rows of a block.

        Raises:
            UserError: The disk is full.
        """
        records = np.empty(len(rows), self._record)
        columns = (rows.numbers, rows.user_ids, rows.item_ids, rows.labels, rows.weights)
        for name, values in zip(self._record.names or (), columns, strict=False):
            records[name] = values
        self._file.write(self._offsets[block], records)
        del self._missing[block]

    def shuffled(self, *, seed: int, round: int, skip: Mapping[int, int]) -> Iterator[tuple[int, LabelledRows]]:
        """Yields the rows of each lane in a round's order, a slice of every lane after the other.

        A slice is a range of the keys that order the rows, so that the order is that of the whole lane sorted at once.

        Args:
            seed: Seed of the run.
            round: The round, from 0.
            skip: Rows to leave out at the beginning of each lane.

        Yields:
            A lane, and its next rows.
        """
        left = dict(skip)
        slices = math.ceil(max((stop - start for start, stop in self._bounds.values()), default=0) / SLICE_ROWS)
        for part in range(slices):
            bounds = (part << 64) // slices, ((part + 1) << 64) // slices - 1
            for lane in self._bounds:
                records = self._lane(lane)
                positions = _positions_between(records, *bounds, seed=seed, round=round)
                wanted = positions[left[lane] :]
                left[lane] -= positions.size - wanted.size
                if wanted.size:
                    yield lane, _as_rows(records[wanted])

    def _lane(self, lane: int) -> NDArray[Any]:
        return self._file.records()[slice(*self._bounds[lane])]


def _positions_between(records: NDArray[Any], low: int, high: int, *, seed: int, round: int) -> NDArray[np.int64]:
    """Returns positions of the records whose keys lie in a closed range, in the order of the keys."""
    keys: list[NDArray[np.uint64]] = []
    positions: list[NDArray[np.int64]] = []
    for start in range(0, len(records), SLICE_ROWS):
        part = row_keys(records["number"][start : start + SLICE_ROWS], seed=seed, round=round)
        inside = np.flatnonzero((part >= np.uint64(low)) & (part <= np.uint64(high)))
        keys.append(part[inside])
        positions.append(inside + start)
    if not positions:
        return np.empty(0, dtype=np.int64)
    return np.concatenate(positions)[key_order(np.concatenate(keys))]


def _as_rows(records: NDArray[Any]) -> LabelledRows:
    columns = (np.ascontiguousarray(records[name]) for name in records.dtype.names or ())
    return LabelledRows(*columns)
