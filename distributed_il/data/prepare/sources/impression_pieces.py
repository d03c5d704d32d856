"""Reads MIND's behaviors.tsv, a list of news that were shown in a line, in pieces of a row for each of the news."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.fs as pafs
from numpy.typing import NDArray

from distributed_il.core.arrow_compute import pc
from distributed_il.data.prepare.sources.expanded_pieces import ExpandedPieces
from distributed_il.data.prepare.sources.files import RawFile

_FIELDS = 5
_WRONG_WIDTH = (
    f"it does not have {_FIELDS} fields: impression id, user, time, history and impressions, parted by tabs; correct "
    "or remove it"
)
_TIME = "%m/%d/%Y %I:%M:%S %p"


class ImpressionPieces(ExpandedPieces):
    """One file of `impression id, user, time, history, impressions`, parted by tabs.

    Of the impressions, `N1-1 N2-0 …`, each is a row; what was clicked has the label 1 and what was not has 0. The
    history, which has neither times nor what was shown beside it, and comes again with every line of a user, makes no
    rows.
    """

    def __init__(self, fs: pafs.FileSystem, file: RawFile, encoding: str | None) -> None:
        super().__init__(fs, file, encoding)
        self.note = (
            f"{file.name}: what was shown is a row, positive if it was clicked; the history of clicks is not taken"
        )

    def _columns_of(self, lines: pa.Array) -> list[str]:
        return ["user_id", "item_id", "label", "time"]

    def _problems(self, lines: pa.Array, before: int) -> dict[str, NDArray[np.bool_]]:
        return {_WRONG_WIDTH: pc.list_value_length(pc.split_pattern(lines, "\t")).to_numpy() != _FIELDS}

    def _expanded(self, lines: pa.Array) -> tuple[dict[str, pa.Array], NDArray[np.int64]]:
        flat = pc.split_pattern(lines, "\t").flatten()
        _, users, times, _, shown = (flat.take(pa.array(np.arange(n, len(flat), _FIELDS))) for n in range(_FIELDS))
        impressions = pc.utf8_split_whitespace(pc.utf8_trim_whitespace(shown))
        counts = pc.list_value_length(impressions).to_numpy().astype(np.int64)
        # Text without a word in it splits into one that is empty.
        empty = pc.equal(pc.utf8_trim_whitespace(shown), "").to_numpy(zero_copy_only=False)
        counts[empty] = 0
        news = impressions.filter(pa.array(~empty)).flatten()
        of_line = pa.array(np.repeat(np.arange(len(lines)), counts))
        return {
            "user_id": users.take(of_line),
            "item_id": pc.replace_substring_regex(news, r"-[01]$", ""),
            "label": pc.replace_substring_regex(news, r"^.*-([01])$", r"\1"),
            "time": pc.strptime(times, _TIME, "s", error_is_null=True).take(of_line),
        }, counts
