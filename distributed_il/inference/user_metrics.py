"""Metrics of each user of a split, as a table: what the run's metrics are the means of."""

from __future__ import annotations

import io
import posixpath
from collections.abc import Mapping
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.fs as pafs
import pyarrow.parquet as pq
from numpy.typing import NDArray

from distributed_il.core.errors import UserError
from distributed_il.core.files import filesystem, write_atomically
from distributed_il.data.dataset import Dataset
from distributed_il.evaluation.metrics import (
    UserTies,
    descending_ranks,
    user_auc,
    user_mrr,
    user_mrr_first,
    user_ndcg,
)
from distributed_il.evaluation.split_scores import SplitScores

Int64 = NDArray[np.int64]
LABELLED = "labelled_"
"""Begins the columns of metrics of labelled rows; those of rankings are called as in `ranking`."""


class UserMetrics:
    """Collects the metrics of each user; NaN where one is not defined."""

    def __init__(self, dataset: Dataset) -> None:
        self._dataset = dataset
        self._counts = np.zeros((2, dataset.num_users), np.int64)  # rows, positives
        self._columns: dict[str, NDArray[np.float64]] = {}

    def add_labelled(self, scores: SplitScores) -> None:
        """Adds the rows of the split and what AUC and the others by user are the means of; `scores` has all rows."""
        for part in scores.parts:
            users, labels = part["user_id"].astype(np.int64), part["label"].astype(np.int64)
            found, rows = np.unique(users, return_counts=True)
            positives = np.bincount(users, weights=labels, minlength=self._dataset.num_users)[found].astype(np.int64)
            self._counts[:, found] = rows, positives
            ties = UserTies.from_rows(users, descending_ranks(part["logit"]), labels)
            both = found[(positives > 0) & (positives < rows)]  # whom `ties` has, in its order
            metrics = {"auc": user_auc(ties), **{f"ndcg@{cutoff}": user_ndcg(ties, cutoff) for cutoff in (10, 20)}}
            metrics |= {"mrr": user_mrr(ties), "mrr_first": user_mrr_first(ties)}
            self.add(both, {f"{LABELLED}{name}": values for name, values in metrics.items()})

    def add(self, user_ids: Int64, metrics: Mapping[str, NDArray[np.float64]]) -> None:
        """Adds metrics of some users, by name, [users] each."""
        for name, values in metrics.items():
            self._columns.setdefault(name, np.full(self._dataset.num_users, np.nan))[user_ids] = values

    def table(self) -> pa.Table:
        """Returns `user_id`, `rows`, `positives` and the metrics of each user who has rows in the split."""
        users = np.flatnonzero(self._counts[0])
        ids = self._dataset.vocabulary("users").take(pa.array(users))
        columns: dict[str, Any] = {"user_id": ids, "rows": self._counts[0, users], "positives": self._counts[1, users]}
        columns |= {name: pa.array(values[users], from_pandas=True) for name, values in self._columns.items()}
        return pa.table(columns)


def require_place(path: str) -> None:
    """Makes sure that a Parquet file can be written, before the work for it is done.

    Raises:
        UserError: Its name tells of no Parquet, or its directory is not there.
    """
    if not path.endswith((".parquet", ".pq")):
        raise UserError(f"per_user is {path}, which ends neither in .parquet nor in .pq; name a Parquet file")
    fs, inside = filesystem(path)
    if fs.get_file_info(posixpath.dirname(inside)).type != pafs.FileType.Directory:
        raise UserError(f"per_user is {path}, and its directory does not exist; make it, or name another file")


def write_table(path: str, table: pa.Table) -> None:
    """Writes a Parquet file, a path or pyarrow URI, complete or not at all.

    Raises:
        UserError: The disk is full.
    """
    content = io.BytesIO()
    pq.write_table(table, content)
    fs, inside = filesystem(path)
    write_atomically(fs, inside, content.getvalue())
