"""Reads the text of the Netflix Prize, a line for a movie and one for each of its ratings below, in pieces."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.fs as pafs
from numpy.typing import NDArray

from distributed_il.core.arrow_compute import pc
from distributed_il.data.prepare.sources.expanded_pieces import ExpandedPieces
from distributed_il.data.prepare.sources.files import RawFile
from distributed_il.data.prepare.sources.text_lines import SUBSTITUTE

_FIELDS = 3
_NEITHER = "it is neither movie: nor user,rating,date; correct or remove it"
_NO_MOVIE = "a line with a movie and a colon, such as 1:, must come before its ratings; correct it"


class NetflixPieces(ExpandedPieces):
    """One file of lines `movie:`, and below each of them lines `user,rating,date`."""

    def __init__(self, fs: pafs.FileSystem, file: RawFile, encoding: str | None) -> None:
        super().__init__(fs, file, encoding)
        self._movie, self._lost = "", True

    def _columns_of(self, lines: pa.Array) -> list[str]:
        return ["user_id", "movie_id", "rating", "date"]

    def _problems(self, lines: pa.Array, before: int) -> dict[str, NDArray[np.bool_]]:
        lines = pc.utf8_trim_whitespace(lines)
        begins = _begins(lines) & ~pc.match_substring(lines, SUBSTITUTE).to_numpy(zero_copy_only=False)
        width = pc.list_value_length(pc.split_pattern(lines, ",")).to_numpy()
        # A line without a comma may have been that of a movie, and then the ratings below it are of none that is known.
        heads = begins | (width == 1)
        last = np.maximum.accumulate(np.where(heads, np.arange(heads.size), -1))
        lost = np.where(last < 0, self._lost or not before, ~begins[last])
        self._lost = bool(lost[-1])
        return {_NEITHER: ~begins & (width != _FIELDS), _NO_MOVIE: ~begins & lost}

    def _expanded(self, lines: pa.Array) -> tuple[dict[str, pa.Array], NDArray[np.int64]]:
        lines = pc.utf8_trim_whitespace(lines)
        begins = _begins(lines)
        movies = pa.concat_arrays([pa.array([self._movie]), pc.utf8_rtrim(lines.filter(pa.array(begins)), ":")])
        of_line = np.cumsum(begins)
        flat = pc.split_pattern(lines.filter(pa.array(~begins)), ",").flatten()
        users, ratings, dates = (flat.take(pa.array(np.arange(n, len(flat), _FIELDS))) for n in range(_FIELDS))
        self._movie = movies[-1].as_py()
        items = movies.take(pa.array(of_line[~begins]))
        return {"user_id": users, "movie_id": items, "rating": ratings, "date": dates}, (~begins).astype(np.int64)


def _begins(lines: pa.Array) -> NDArray[np.bool_]:
    return pc.ends_with(lines, ":").to_numpy(zero_copy_only=False)
