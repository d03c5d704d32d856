"""The way out: sorts each bucket by hash and hands the rows to the dataset's lanes."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from distributed_il.core.prefetch import Prefetcher
from distributed_il.core.progress import StageProgress
from distributed_il.data.dataset import UNCLEAR, DatasetWriter
from distributed_il.data.prepare.build.assign_splits import Dealt
from distributed_il.data.prepare.build.options import PARTS, TRAIN_PART, UNCLEAR_PART, BuildOptions
from distributed_il.data.prepare.build.record_buckets import RecordFile, Records


def place(
    dealt: Dealt, writer: DatasetWriter, options: BuildOptions, counts: Counter[str], *, progress: StageProgress
) -> None:
    """Writes all parts in their shuffled order.

    Args:
        dealt: The rows.
        writer: Gets them.
        options: Policy for unseen users and items.
        counts: Is added to: `unseen_users`, `unseen_items`, and `unseen_rows`, those of valid and test whose user or
            item has no row in train.
        progress: Told how far it is.
    """
    rows = sum(file.rows for buckets in dealt.buckets for file in buckets.files)
    unseen = (np.zeros_like(dealt.user_trained), np.zeros_like(dealt.item_trained))
    done = 0
    for part, buckets in enumerate(dealt.buckets):
        with Prefetcher(map(_in_order, buckets.files), depth=1) as ahead:  # the next one is sorted in a thread
            for records in ahead:
                done += records.size
                if part not in (TRAIN_PART, UNCLEAR_PART):
                    records = _without_unseen(records, dealt, unseen, options, counts)
                if records.size:
                    writer.append(PARTS[part], _table(PARTS[part], records))
                progress("write", done, rows)
        writer.finish_split(PARTS[part])
    counts["unseen_users"], counts["unseen_items"] = (int(flags.sum()) for flags in unseen)


def _in_order(file: RecordFile) -> Records:
    records = file.take()
    return records.take(np.argsort(records["key"], kind="stable"))


def _without_unseen(
    records: Records,
    dealt: Dealt,
    unseen: tuple[NDArray[np.bool_], NDArray[np.bool_]],
    options: BuildOptions,
    counts: Counter[str],
) -> Records:
    new_user = ~dealt.user_trained[records["user"]]
    new_item = ~dealt.item_trained[records["item"]]
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
    return pa.table({name: np.ascontiguousarray(values) for name, values in columns.items()})
