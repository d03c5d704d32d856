"""Reads lists, a user and their items in a line, in pieces of a row for each item."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.fs as pafs
from numpy.typing import NDArray

from distributed_il.core.arrow_compute import pc
from distributed_il.data.prepare.sources.expanded_pieces import ExpandedPieces
from distributed_il.data.prepare.sources.files import RawFile


class ListPieces(ExpandedPieces):
    """One file of lists: `user item item …` or `user: item item …`, parted by blanks or commas."""

    def __init__(self, fs: pafs.FileSystem, file: RawFile, encoding: str | None, names: tuple[str, str]) -> None:
        """Reads nothing yet; `names` are what the columns of users and of items are called."""
        super().__init__(fs, file, encoding)
        self._names = names

    def _columns_of(self, lines: pa.Array) -> list[str]:
        return list(self._names)

    def _expanded(self, lines: pa.Array) -> tuple[dict[str, pa.Array], NDArray[np.int64]]:
        plain = pc.replace_substring_regex(lines, r"^\s*([^\s:,]+):", r"\1 ")
        fields = pc.utf8_split_whitespace(pc.utf8_trim_whitespace(pc.replace_substring(plain, ",", " ")))
        bounds, flat = fields.offsets.to_numpy(), fields.flatten()
        items = np.ones(len(flat), np.bool_)
        items[bounds[:-1]] = False
        counts = np.diff(bounds).astype(np.int64) - 1
        users = flat.take(pa.array(np.repeat(bounds[:-1], counts)))
        return dict(zip(self._names, (users, flat.filter(pa.array(items))), strict=True)), counts
