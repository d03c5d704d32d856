"""Assigns rows to splits and to buckets of the shuffled order, and writes the pair indexes on the way."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from distributed_il.core.counter_rng import SHUFFLE, hash_u64, uniform_below
from distributed_il.core.prefetch import Prefetcher
from distributed_il.core.progress import StageProgress
from distributed_il.data.dataset import UNCLEAR, DatasetWriter
from distributed_il.data.prepare.build.deduplicate import require_rows
from distributed_il.data.prepare.build.gather import Gathered
from distributed_il.data.prepare.build.options import PARTS, TRAIN_PART, UNASSIGNED, UNCLEAR_PART, BuildOptions
from distributed_il.data.prepare.build.record_buckets import Bucket, Records, distribute, make_buckets, record_type
from distributed_il.data.prepare.build.splitters import Splitter

_PAIR = np.dtype([("user", "<i4"), ("item", "<i4")])


@dataclass(slots=True)
class SplitRows:
    """Rows of each part in buckets; a row's `key` is the hash that orders it, ascending from bucket to bucket."""

    buckets: list[list[Bucket]]
    user_trained: NDArray[np.bool_]
    """bool [num_users]: the user has a row in train."""
    item_trained: NDArray[np.bool_]
    """bool [num_items]."""
    times: dict[str, tuple[str, str]] = field(default_factory=dict[str, tuple[str, str]])
    """First and last moment of the labelled rows that were given each split, where the split went by time."""


def assign_splits(
    gathered: Gathered,
    rows: list[int],
    splitter: Splitter,
    writer: DatasetWriter,
    options: BuildOptions,
    counts: Counter[str],
    *,
    progress: StageProgress,
) -> SplitRows:
    """Assigns all deduplicated rows to splits and writes both pair indexes.

    An unclear pair that has a label in train is no unlabelled pair, and is set aside. Labels in valid and test do not
    count for that: training must not learn from them which pairs will be evaluated. Counts `unclear_rows_with_label`
    and `unclear_rows_outside_train`.
    """
    scratch, num_users = writer.scratch, len(gathered.users)
    dtype = record_type(options.preference, options.timed, options.weighted)
    split_rows = SplitRows(
        [
            make_buckets(scratch / name, (count + rows[UNASSIGNED]) // options.bucket_rows + 1, dtype)
            for name, count in zip(PARTS, rows[:UNASSIGNED], strict=True)
        ],
        np.zeros(num_users, dtype=np.bool_),
        np.zeros(len(gathered.items), dtype=np.bool_),
    )
    logged = Bucket(scratch / "logged", _PAIR)
    assigner = _Assigner(gathered, splitter, split_rows, options.seed, counts, logged)
    writer.write_index("observed", assigner.observed(progress), num_users)
    if logged.rows:
        writer.write_index("logged", ((pairs["user"], pairs["item"]) for pairs in logged.chunks()), num_users)
    logged.remove()
    require_rows(assigner.numbers, counts["rows_read"])
    split_rows.times = {
        PARTS[part]: (gathered.scale.text(first), gathered.scale.text(last))
        for part, (first, last) in sorted(assigner.times.items())
    }
    return split_rows


@dataclass(frozen=True, slots=True)
class _Assigner:
    gathered: Gathered
    splitter: Splitter
    split_rows: SplitRows
    seed: int
    counts: Counter[str]
    logged: Bucket
    """Unclear pairs, in order."""
    numbers: list[int] = field(default_factory=lambda: [0] * len(PARTS))
    """Rows of each part so far."""
    times: dict[int, tuple[int, int]] = field(default_factory=dict[int, tuple[int, int]])
    """Keys of the first and last moment of each part so far."""

    def observed(self, progress: StageProgress) -> Iterator[tuple[NDArray[Any], NDArray[Any]]]:
        """Assigns bucket after bucket and yields the training pairs of each, in order."""
        done = 0
        with Prefetcher(self._split(), depth=1) as ahead:  # the next bucket is split in a thread
            for labelled, unclear, rows in ahead:
                done += rows
                train = labelled[labelled["split"] == TRAIN_PART]
                self.split_rows.user_trained[train["user"]] = True
                self.split_rows.item_trained[train["item"]] = True
                for part in range(UNCLEAR_PART):
                    self._shuffle(part, labelled[labelled["split"] == part])
                self._shuffle(UNCLEAR_PART, self._without_label(unclear, train))
                progress("shuffle", done, self.gathered.rows)
                yield train["user"], train["item"]

    def _split(self) -> Iterator[tuple[Records, Records, int]]:
        """Yields of each bucket its labelled rows with their splits, its unclear rows of train, and its size."""
        for bucket in self.gathered.buckets:
            records = bucket.take()
            clear = records["label"] >= 0
            labelled, unclear = records[clear], records[~clear]
            yield labelled, self._assign(labelled, unclear), records.size

    def _assign(self, labelled: Records, unclear: Records) -> Records:
        """Splits the labelled rows, and returns the unclear ones that training may know of."""
        open_rows, open_unclear = labelled["split"] == UNASSIGNED, unclear["split"] == UNASSIGNED
        unassigned = labelled[open_rows]
        kept = ~open_unclear
        kept[open_unclear] = self.splitter.assign(unassigned, unclear[open_unclear])
        labelled["split"][open_rows] = unassigned["split"]
        if "time" in (labelled.dtype.names or ()):
            self._note_times(unassigned)
        self.counts["unclear_rows_outside_train"] += int((~kept).sum())
        return unclear[kept]

    def _note_times(self, assigned: Records) -> None:
        for part in np.unique(assigned["split"]).tolist():
            times = assigned["time"][assigned["split"] == part]
            first, last = self.times.get(part, (2**64, 0))
            self.times[part] = (min(first, int(times.min())), max(last, int(times.max())))

    def _shuffle(self, part: int, records: Records) -> None:
        first = self.numbers[part]
        self.numbers[part] += records.size
        records["key"] = hash_u64(self.seed, SHUFFLE, part, np.arange(first, self.numbers[part]))
        buckets = self.split_rows.buckets[part]
        # Monotone in the hash, so that sorted buckets one after the other are one sorted sequence.
        distribute(records, uniform_below(records["key"], len(buckets)), buckets)

    def _without_label(self, unclear: Records, train: Records) -> Records:
        labelled = np.isin(_keys(unclear), _keys(train), assume_unique=True)
        self.counts[f"{UNCLEAR}_rows_with_label"] += int(labelled.sum())
        unclear = unclear[~labelled]
        pairs = np.empty(unclear.size, dtype=_PAIR)
        pairs["user"], pairs["item"] = unclear["user"], unclear["item"]
        self.logged.append(pairs)
        return unclear


def _keys(records: Records) -> NDArray[np.int64]:
    return (records["user"].astype(np.int64) << 32) | records["item"]
