"""Where pairs come from: a split of the dataset, or files that the user gives; in pieces, as dense and external ids."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from distributed_il.core.errors import UserError
from distributed_il.data.dataset import UNCLEAR, Dataset
from distributed_il.data.id_files.id_lookup import IdLookup
from distributed_il.data.id_files.pair_files import PairFiles
from distributed_il.data.id_files.reading import read_ids
from distributed_il.data.prepare.sources.pieces import group_rows

PIECE_ROWS = 262_144
"""Rows of a split that make a piece, at least, but for the last one."""


@dataclass(frozen=True, eq=False, slots=True)
class Pairs:
    """Some pairs."""

    user_ids: NDArray[np.int64]  # dense, int64 [n]; −1 for a user that the dataset does not know
    item_ids: NDArray[np.int64]  # likewise
    # the columns that the result takes over: external `user_id` and `item_id`, and `label` where there is one
    columns: dict[str, pa.Array]


class PairSource(Protocol):
    """Pairs in pieces that can be read in any order."""

    @property
    def rows(self) -> Sequence[int]:
        """Rows of each piece; 0 where unknown."""
        ...

    @property
    def extra(self) -> Mapping[str, pa.DataType]:
        """Columns beside the ids that the result takes over."""
        ...

    @property
    def identity(self) -> Mapping[str, Any]:
        """What the pairs are, as plain values."""
        ...

    def read(self, piece: int, users: IdLookup, items: IdLookup) -> Iterator[Pairs]:
        """Reads a piece, some rows at a time.

        Raises:
            UserError: A file is damaged, or holds what is no id.
        """
        ...


class SplitPairs:
    """The rows of a split, lane after lane."""

    def __init__(self, dataset: Dataset, split: str) -> None:
        """Takes a split: `train`, `valid`, `test` or `unclear`.

        Raises:
            UserError: The dataset has no such split.
        """
        if not dataset.rows(split):
            raise UserError(f"{dataset.path} has no rows of the split {split}; give another split, or pairs")
        self._dataset, self._split = dataset, split
        blocks = [block for lane in range(dataset.lanes) for block in dataset.blocks(split, lane)]
        groups = group_rows([block.rows for block in blocks], PIECE_ROWS)
        self._pieces = [blocks[places.start : places.stop] for places in groups]
        self.extra: dict[str, pa.DataType] = {} if split == UNCLEAR else {"label": pa.int8()}

    @property
    def rows(self) -> Sequence[int]:
        return [sum(block.rows for block in piece) for piece in self._pieces]

    @property
    def identity(self) -> Mapping[str, Any]:
        return {"split": self._split}

    def read(self, piece: int, users: IdLookup, items: IdLookup) -> Iterator[Pairs]:
        for block in self._pieces[piece]:
            table = self._dataset.read_block(block, ["user_id", "item_id", *self.extra])
            dense = [table.column(name).to_numpy().astype(np.int64) for name in ("user_id", "item_id")]
            columns = {"user_id": users.external(dense[0]), "item_id": items.external(dense[1])}
            columns |= {name: table.column(name).chunk(0) for name in self.extra}
            yield Pairs(dense[0], dense[1], columns)


class GivenPairs:
    """Pairs of external ids in files."""

    def __init__(self, files: PairFiles) -> None:
        """Takes the files, whose columns are that of users and that of items."""
        self._files = files
        self.extra: dict[str, pa.DataType] = {}

    @property
    def rows(self) -> Sequence[int]:
        return [part.rows for _, part in self._files.pieces]

    @property
    def identity(self) -> Mapping[str, Any]:
        return {"pairs": [list(file) for file in self._files.files], "columns": list(self._files.columns)}

    def read(self, piece: int, users: IdLookup, items: IdLookup) -> Iterator[Pairs]:
        for user_ids, item_ids in read_ids(self._files, piece, (users, items)):
            columns = {"user_id": user_ids, "item_id": item_ids}
            yield Pairs(users.rows(user_ids), items.rows(item_ids), columns)
