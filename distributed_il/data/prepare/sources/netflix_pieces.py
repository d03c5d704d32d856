"""Reads the text of the Netflix Prize, a line for a movie and one for each of its ratings below, in pieces."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.fs as pafs
from numpy.typing import NDArray

from distributed_il.core.arrow_compute import pc
from distributed_il.data.prepare.sources.expanded_pieces import ExpandedPieces
from distributed_il.data.prepare.sources.files import RawFile

_FIELDS = 3


class NetflixPieces(ExpandedPieces):
    """One file of lines `movie:`, and below each of them lines `user,rating,date`."""

    def __init__(self, fs: pafs.FileSystem, file: RawFile, encoding: str | None) -> None:
        super().__init__(fs, file, encoding)
        self._movie = ""

    def _columns_of(self, lines: pa.Array) -> list[str]:
        return ["user_id", "movie_id", "rating", "date"]

    def _expanded(self, lines: pa.Array, before: int) -> tuple[dict[str, pa.Array], NDArray[np.int64]]:
        lines = pc.utf8_trim_whitespace(lines)
        begins = pc.ends_with(lines, ":").to_numpy(zero_copy_only=False)
        movies = pa.concat_arrays(
            [pa.array(["" if not before else self._movie]), pc.utf8_rtrim(lines.filter(pa.array(begins)), ":")]
        )
        of_line = np.cumsum(begins)
        if not before and not begins[0]:
            self._refuse(0, "a line with a movie and a colon, such as 1:, must come before its ratings; correct it")
        fields = pc.split_pattern(lines, ",")
        wrong = np.flatnonzero((pc.list_value_length(fields).to_numpy() != _FIELDS) & ~begins)
        if wrong.size:
            self._refuse(before + int(wrong[0]), "it is neither movie: nor user,rating,date; correct or remove it")
        flat = fields.filter(pa.array(~begins)).flatten()
        users, ratings, dates = (flat.take(pa.array(np.arange(n, len(flat), _FIELDS))) for n in range(_FIELDS))
        self._movie = movies[-1].as_py()
        items = movies.take(pa.array(of_line[~begins]))
        return {"user_id": users, "movie_id": items, "rating": ratings, "date": dates}, (~begins).astype(np.int64)
