"""Goes over the buckets of users and leaves one row of each pair."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from numpy.typing import NDArray

from distributed_il.core.errors import UserError
from distributed_il.data.dataset import SPLITS
from distributed_il.data.prepare.build.gather import Gathered
from distributed_il.data.prepare.build.options import ALL, TO_DEAL, TRAIN_PART, UNCLEAR_PART, BuildOptions, Progress
from distributed_il.data.prepare.build.record_buckets import RecordFile
from distributed_il.data.prepare.build.resolve import resolve

_THREADS = 4
"""Buckets in memory together, at most."""


def clean(
    gathered: Gathered,
    options: BuildOptions,
    counts: Counter[str],
    *,
    locate: Callable[[str, int], str],
    progress: Progress,
) -> list[int]:
    """Resolves the pairs of every bucket, in place.

    A row to be dealt gives way to one of its pair that has its split: an unbiased test set and the rows of a parent
    dataset stay whole.

    Unclear rows count as such only in train: unclear feedback from the time of valid or test is set aside, because
    training must not know of it.

    Args:
        gathered: The rows; afterwards each bucket holds its labelled rows by (user, item), then its unclear ones.
        options: Policies.
        counts: Is added to, by `resolve` and by `unclear_rows_outside_train`.
        locate: Where a row of a split stands in the source.
        progress: Told how far it is.

    Returns:
        Rows of train, valid, test and unclear, and labelled rows that are still to be dealt.

    Raises:
        UserError: A policy forbids what the rows hold.
    """

    def place(split: int, row: int) -> str:
        return locate(ALL if split == TO_DEAL else SPLITS[split], row)

    def pair(user: int, item: int) -> str:
        return f"user {gathered.users[user].as_py()!r} and item {gathered.items[item].as_py()!r}"

    def cleaned(file: RecordFile) -> tuple[int, NDArray[np.intp], Counter[str]]:
        records = file.take()
        given = (records["split"] != TRAIN_PART) & (records["split"] != TO_DEAL)
        outside = (records["label"] < 0) & given
        found = Counter({"unclear_rows_outside_train": int(outside.sum())})
        labelled, unclear = resolve(records[~outside], options.policies, place, pair, found)
        for part in (labelled, unclear):
            file.append(part)
        unclear["split"] = UNCLEAR_PART
        splits = np.concatenate((labelled["split"], unclear["split"]))
        return records.size, np.bincount(splits, minlength=TO_DEAL + 1), found

    rows, done = np.zeros(TO_DEAL + 1, dtype=np.int64), 0
    # Sorting, which is most of it, leaves the interpreter to other threads.
    with ThreadPoolExecutor(min(_THREADS, os.cpu_count() or 1)) as threads:
        for size, of_parts, found in threads.map(cleaned, gathered.buckets.files):
            rows += of_parts
            done += size
            counts.update(found)
            progress("resolve", done, gathered.rows)
    return rows.tolist()


def require_rows(rows: list[int], rows_read: int) -> None:
    """Refuses empty splits.

    Raises:
        UserError: A split would be empty.
    """
    for name, count in zip(SPLITS, rows, strict=False):
        if count == 0:
            raise UserError(
                f"the split {name} gets no labelled rows, of {rows_read:,} rows read; give it some, or look at the "
                "rule, the shares, unbiased, and the policies that set rows aside"
            )
