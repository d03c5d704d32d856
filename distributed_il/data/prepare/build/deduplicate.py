"""Leaves one row of each pair, bucket by bucket, as the policies say."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from distributed_il.core.errors import UserError
from distributed_il.core.progress import StageProgress
from distributed_il.data.dataset import SPLITS
from distributed_il.data.prepare.build.gather import Gathered
from distributed_il.data.prepare.build.options import ALL, TRAIN_PART, UNASSIGNED, UNCLEAR_PART, BuildOptions, Policies
from distributed_il.data.prepare.build.record_buckets import Bucket, Records

_THREADS = 4
"""Buckets in memory together, at most."""
Locate = Callable[[int, int], str]
"""Tells where a row stands in the source, from the number of its split and its own."""


def deduplicate(
    gathered: Gathered,
    options: BuildOptions,
    counts: Counter[str],
    *,
    locate: Callable[[str, int], str],
    progress: StageProgress,
) -> list[int]:
    """Leaves one row of each pair in every bucket, in place.

    An unassigned row gives way to one of its pair that has its split: an unbiased test set and the rows of a parent
    dataset stay whole. Unclear rows of valid and test are set aside, because training must not know of them, and
    counted as `unclear_rows_outside_train`, beside what `deduplicate_records` counts. Afterwards a bucket holds its
    labelled rows by (user, item), then its unclear ones.

    Returns:
        Rows of train, valid, test and unclear, and unassigned labelled rows.

    Raises:
        UserError: A policy forbids what the rows hold.
    """

    def place(split: int, row: int) -> str:
        return locate(ALL if split == UNASSIGNED else SPLITS[split], row)

    def pair(user: int, item: int) -> str:
        return f"user {gathered.users[user].as_py()!r} and item {gathered.items[item].as_py()!r}"

    def deduplicate_bucket(bucket: Bucket) -> tuple[int, NDArray[np.intp], Counter[str]]:
        records = bucket.take()
        given = (records["split"] != TRAIN_PART) & (records["split"] != UNASSIGNED)
        outside = (records["label"] < 0) & given
        found = Counter({"unclear_rows_outside_train": int(outside.sum())})
        labelled, unclear = deduplicate_records(records[~outside], options.policies, place, pair, found)
        for part in (labelled, unclear):
            bucket.append(part)
        unclear["split"] = UNCLEAR_PART
        splits = np.concatenate((labelled["split"], unclear["split"]))
        return records.size, np.bincount(splits, minlength=UNASSIGNED + 1), found

    rows, done = np.zeros(UNASSIGNED + 1, dtype=np.int64), 0
    # Sorting, which is most of it, leaves the interpreter to other threads.
    with ThreadPoolExecutor(min(_THREADS, os.cpu_count() or 1)) as threads:
        for size, of_parts, found in threads.map(deduplicate_bucket, gathered.buckets):
            rows += of_parts
            done += size
            counts.update(found)
            progress("deduplicate", done, gathered.rows)
    return rows.tolist()


def require_rows(rows: list[int], rows_read: int) -> None:
    """Raises `UserError` if a split would be empty."""
    for name, count in zip(SPLITS, rows, strict=False):
        if count == 0:
            raise UserError(
                f"the split {name} gets no labelled rows, of {rows_read:,} rows read; give it some, or look at the "
                "rule, the shares, unbiased, and the policies that set rows aside"
            )


def deduplicate_records(
    records: Records, policies: Policies, locate: Locate, names: Callable[[int, int], str], counts: Counter[str]
) -> tuple[Records, Records]:
    """Leaves one row of each pair and split.

    Args:
        records: All rows of some users, in the source's order; `key` is a row's number in its split.
        policies: What to do.
        locate: For messages.
        names: The external ids of a pair, for messages.
        counts: Incremented: `duplicate_rows`, `contradicting_pairs`, `contradicting_rows`, `overlapping_rows`, all but
            the pairs being rows set aside.

    Returns:
        Labelled rows by (user, item, split), and unclear rows by (user, item).

    Raises:
        UserError: A policy is `error` and there is such a pair.
    """
    # Of a pair's rows the last one is the latest, or where no times are read, the last in the source.
    timed = "time" in (records.dtype.names or ())
    order = np.lexsort((records["time"], _pairs(records))) if timed else np.argsort(_pairs(records), kind="stable")
    records = records.take(order)  # several times faster than records[order]
    clear = records["label"] >= 0
    labelled, unclear = records[clear], records[~clear]
    labelled = labelled.take(np.argsort(_pairs_and_splits(labelled), kind="stable"))
    deduplicator = _Deduplicator(policies, locate, names, counts)
    return deduplicator.across_splits(deduplicator.within_split(labelled)), deduplicator.unclear(unclear)


def _pairs(records: Records) -> NDArray[np.int64]:
    # 31 bits each leave room for the split.
    return (records["user"].astype(np.int64) << 31) | records["item"]


def _pairs_and_splits(labelled: Records) -> NDArray[np.int64]:
    """Keys that put unassigned rows after those that have their splits."""
    return _pairs(labelled) * 4 + np.minimum(labelled["split"], UNCLEAR_PART)


@dataclass(frozen=True, slots=True)
class _Deduplicator:
    policies: Policies
    locate: Locate
    names: Callable[[int, int], str]
    counts: Counter[str]

    def within_split(self, rows: Records) -> Records:
        """One row of each (pair, split)."""
        if not rows.size:
            return rows
        starts = _group_starts(_pairs_and_splits(rows))
        ends = np.append(starts[1:], rows.size)
        if starts.size == rows.size:
            return rows
        labels = rows["label"]
        differing = np.minimum.reduceat(labels, starts) != np.maximum.reduceat(labels, starts)
        repeated = (ends - starts > 1) & ~differing
        for name, groups in (("duplicates", repeated), ("contradictions", differing)):
            if groups.any() and getattr(self.policies, name) == "error":
                group = int(np.argmax(groups))
                raise self._error(rows[starts[group] : ends[group]], name)
        kept = np.where(
            np.where(differing, self.policies.contradictions, self.policies.duplicates) == "first", starts, ends - 1
        )
        dropped = differing & (self.policies.contradictions == "drop")
        self.counts["duplicate_rows"] += int((ends - starts - 1)[repeated].sum())
        self.counts["contradicting_pairs"] += int(differing.sum())
        self.counts["contradicting_rows"] += int((ends - starts - 1)[differing].sum() + dropped.sum())
        return rows.take(kept[~dropped])

    def across_splits(self, rows: Records) -> Records:
        """One row of each pair, that of the first split, if the policy says so."""
        pairs = _pairs(rows)
        later = np.concatenate(([False], pairs[1:] == pairs[:-1])) if rows.size else np.zeros(0, dtype=np.bool_)
        if not later.any():
            return rows
        if self.policies.overlap == "error":
            place = int(np.argmax(later))
            raise self._error(rows[place - 1 : place + 1], "overlap")
        if self.policies.overlap == "keep":
            return rows
        self.counts["overlapping_rows"] += int(later.sum())
        return rows[~later]

    def unclear(self, rows: Records) -> Records:
        """One row of each unclear pair."""
        if not rows.size:
            return rows
        starts = _group_starts(_pairs(rows))
        ends = np.append(starts[1:], rows.size)
        if starts.size < rows.size and self.policies.duplicates == "error":
            group = int(np.argmax(ends - starts > 1))
            raise self._error(rows[starts[group] : ends[group]], "duplicates")
        self.counts["duplicate_rows"] += rows.size - starts.size
        return rows.take(starts if self.policies.duplicates == "first" else ends - 1)

    def _error(self, rows: Records, policy: str) -> UserError:
        one, other = rows[0], rows[1]
        if policy == "contradictions":
            other = rows[np.argmax(rows["label"] != one["label"])]
        places = [self.locate(int(row["split"]), int(row["key"])) for row in (one, other)]
        labels = ["missing" if row["label"] < 0 else str(row["label"]) for row in (one, other)]
        others = {"duplicates": "last or first", "contradictions": "last, first or drop", "overlap": "drop or keep"}
        return UserError(
            f"{places[0]} and {places[1]} are about the same pair, {self.names(int(one['user']), int(one['item']))} "
            f"(labels {labels[0]} and {labels[1]}); remove one, or set {policy} to {others[policy]}"
        )


def _group_starts(keys: NDArray[np.int64]) -> NDArray[np.int64]:
    return np.flatnonzero(np.concatenate(([True], keys[1:] != keys[:-1])))
