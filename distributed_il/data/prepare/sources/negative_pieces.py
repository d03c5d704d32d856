"""Reads NCF's lists of negatives, `(user,item)` and other items in a line, in pieces of a row for each item."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.fs as pafs
from numpy.typing import NDArray

from distributed_il.core.arrow_compute import pc
from distributed_il.data.prepare.sources.files import RawFile
from distributed_il.data.prepare.sources.list_pieces import ListPieces

_PAIR = r"^\s*\(\s*([^\s(),]+)\s*,\s*([^\s(),]+)\s*\)"


class NegativePieces(ListPieces):
    """One file of lines such as `(0,25)`, 1064, 174, parted by tabs: user 0 has seen item 25, and not the others."""

    def __init__(self, fs: pafs.FileSystem, file: RawFile, encoding: str | None) -> None:
        """Reads nothing yet."""
        super().__init__(fs, file, encoding, ("user", "item"))

    def _columns_of(self, lines: pa.Array) -> list[str]:
        return [*super()._columns_of(lines), "label"]

    def _problems(self, lines: pa.Array, before: int) -> dict[str, NDArray[np.bool_]]:
        begins = pc.match_substring_regex(lines, _PAIR).to_numpy(zero_copy_only=False)
        return {"it does not begin with (user,item); correct or remove it": ~begins}

    def _expanded(self, lines: pa.Array) -> tuple[dict[str, pa.Array], NDArray[np.int64]]:
        found, counts = super()._expanded(pc.replace_substring_regex(lines, _PAIR, r"\1 \2 "))
        labels = np.zeros(int(counts.sum()), np.int8)
        labels[np.cumsum(counts) - counts] = 1
        return found | {"label": pa.array(labels)}, counts
