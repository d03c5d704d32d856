"""Sorts each bucket by hash and writes the rows to the dataset's lanes."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from distributed_il.core.prefetch import Prefetcher
from distributed_il.core.progress import StageProgress
from distributed_il.data.dataset import UNCLEAR, WEIGHT, DatasetWriter
from distributed_il.data.prepare.build.assign_splits import SplitRows
from distributed_il.data.prepare.build.options import PARTS, TRAIN_PART, UNCLEAR_PART, BuildOptions
from distributed_il.data.prepare.build.record_buckets import Bucket, Records


def write_shuffled(
    split_rows: SplitRows,
    writer: DatasetWriter,
    options: BuildOptions,
    counts: Counter[str],
    *,
    progress: StageProgress,
) -> None:
    """Writes all parts in their shuffled order.

    Counts `unseen_users`, `unseen_items`, and `unseen_rows`, rows of valid and test whose user or item is not in train.
    """
    rows = sum(bucket.rows for buckets in split_rows.buckets for bucket in buckets)
    unseen = (np.zeros_like(split_rows.user_trained), np.zeros_like(split_rows.item_trained))
    done = 0
    for part, buckets in enumerate(split_rows.buckets):
        with Prefetcher(map(_in_order, buckets), depth=1) as ahead:  # the next one is sorted in a thread
            for records in ahead:
                done += records.size
                if part not in (TRAIN_PART, UNCLEAR_PART):
                    records = _without_unseen(records, split_rows, unseen, options, counts)
                if records.size:
                    writer.append(PARTS[part], _table(PARTS[part], records))
                progress("write", done, rows)
        writer.finish_split(PARTS[part])
    counts["unseen_users"], counts["unseen_items"] = (int(flags.sum()) for flags in unseen)


def _in_order(bucket: Bucket) -> Records:
    records = bucket.take()
    return records.take(np.argsort(records["key"], kind="stable"))


def _without_unseen(
    records: Records,
    split_rows: SplitRows,
    unseen: tuple[NDArray[np.bool_], NDArray[np.bool_]],
    options: BuildOptions,
    counts: Counter[str],
) -> Records:
    new_user = ~split_rows.user_trained[records["user"]]
    new_item = ~split_rows.item_trained[records["item"]]
    unseen[0][records["user"][new_user]] = True
    unseen[1][records["item"][new_item]] = True
    counts["unseen_rows"] += int((new_user | new_item).sum())
    return records if options.policies.unseen == "keep" else records[~(new_user | new_item)]


def _table(part: str, records: Records) -> pa.Table:
    columns = {"user_id": records["user"], "item_id": records["item"]}
    if part != UNCLEAR:
        columns["label"] = records["label"]
    if "preference" in (records.dtype.names or ()):
        columns["preference"] = records["preference"]
    if part == PARTS[TRAIN_PART] and WEIGHT in (records.dtype.names or ()):
        columns[WEIGHT] = records[WEIGHT]
    return pa.table({name: np.ascontiguousarray(values) for name, values in columns.items()})
