"""Restricts a dataset to its k-core: users and items that have enough labelled rows."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from distributed_il.core.errors import UserError
from distributed_il.data.prepare.build.gather import Gathered
from distributed_il.data.prepare.build.options import UNASSIGNED, UNCLEAR_PART, BuildOptions
from distributed_il.data.prepare.build.record_buckets import Records


def k_core(
    gathered: Gathered, rows: list[int], options: BuildOptions, counts: Counter[str]
) -> tuple[Gathered, list[int]]:
    """Sets aside users and items with too few labelled rows, until all that are left have enough.

    Their unclear rows go with them. Rows of all splits count. The buckets are rewritten, and `inactive_users`,
    `inactive_items`, `inactive_rows` and `inactive_unclear_rows` counted.

    Returns:
        What is left, under new ids, and its rows as `deduplicate` returns them.

    Raises:
        UserError: Nothing is left.
    """
    least = (options.min_user_rows, options.min_item_rows)
    if least == (1, 1):
        return gathered, rows
    kept = _core(gathered, least)
    if not kept[0].any():
        raise UserError(
            f"no user has {least[0]} labelled rows of items that have {least[1]}; lower min_user_rows or min_item_rows"
        )
    left = np.zeros(UNASSIGNED + 1, dtype=np.int64)
    new_ids = [np.cumsum(flags, dtype=np.int32) - 1 for flags in kept]
    for bucket in gathered.buckets:
        records = bucket.take()
        stays = kept[0][records["user"]] & kept[1][records["item"]]
        gone = records[~stays]
        counts["inactive_rows"] += int((gone["label"] >= 0).sum())
        counts["inactive_unclear_rows"] += int((gone["label"] < 0).sum())
        records = records[stays]
        for name, ids in zip(("user", "item"), new_ids, strict=True):
            records[name] = ids[records[name]]
        bucket.append(records)
        parts = np.where(records["label"] < 0, UNCLEAR_PART, records["split"])
        left += np.bincount(parts, minlength=left.size)
    counts["inactive_users"], counts["inactive_items"] = (int((~flags).sum()) for flags in kept)
    users, items = gathered.users.filter(pa.array(kept[0])), gathered.items.filter(pa.array(kept[1]))
    return replace(gathered, users=users, items=items), left.tolist()


def _core(gathered: Gathered, least: tuple[int, int]) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Returns which users and items stay; each round looks at all rows once."""
    kept = (np.ones(len(gathered.users), dtype=np.bool_), np.ones(len(gathered.items), dtype=np.bool_))
    while True:
        user_rows, item_rows = (np.zeros(flags.size, dtype=np.int64) for flags in kept)
        for bucket in gathered.buckets:
            for records in bucket.chunks():
                stays = _labelled(records, kept)
                user_rows += np.bincount(records["user"][stays], minlength=user_rows.size)
                item_rows += np.bincount(records["item"][stays], minlength=item_rows.size)
        active = (user_rows >= least[0], item_rows >= least[1])
        if all(np.array_equal(new & old, old) for new, old in zip(active, kept, strict=True)):
            return kept
        kept = (kept[0] & active[0], kept[1] & active[1])


def _labelled(records: Records, kept: tuple[NDArray[np.bool_], NDArray[np.bool_]]) -> NDArray[np.bool_]:
    return (records["label"] >= 0) & kept[0][records["user"]] & kept[1][records["item"]]
