"""Deals clean rows to splits and to their places in the shuffled order, and yields the pair indexes on the way."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from distributed_il.core.counter_rng import SHUFFLE, hash_u64, uniform_below
from distributed_il.core.prefetch import Prefetcher
from distributed_il.core.progress import StageProgress
from distributed_il.data.dataset import UNCLEAR, DatasetWriter
from distributed_il.data.prepare.build.deduplicate import require_rows
from distributed_il.data.prepare.build.gather import Gathered
from distributed_il.data.prepare.build.options import PARTS, TO_DEAL, TRAIN_PART, UNCLEAR_PART, BuildOptions
from distributed_il.data.prepare.build.record_buckets import Buckets, RecordFile, Records, record_type
from distributed_il.data.prepare.build.splitters import Splitter

_PAIR = np.dtype([("user", "<i4"), ("item", "<i4")])


@dataclass(slots=True)
class Dealt:
    """Rows of each part in buckets; a row's `key` is the hash that orders it, ascending from bucket to bucket."""

    buckets: list[Buckets]
    user_trained: NDArray[np.bool_]
    """bool [num_users]: the user has a row in train."""
    item_trained: NDArray[np.bool_]
    """bool [num_items]."""


def deal(
    gathered: Gathered,
    rows: list[int],
    splitter: Splitter,
    writer: DatasetWriter,
    options: BuildOptions,
    counts: Counter[str],
    *,
    progress: StageProgress,
) -> Dealt:
    """Deals all rows and writes both pair indexes.

    An unclear pair that has a label in train is no unlabelled pair, and is set aside. Labels in valid and test are not
    looked at for that: training must not learn from them which pairs will be asked for.

    Args:
        gathered: Clean rows.
        rows: Rows of each part, and those that are still to be dealt.
        splitter: Deals the latter.
        writer: Gets the indexes.
        options: Seed and size of buckets.
        counts: Is added to: `unclear_rows_with_label`, `unclear_rows_outside_train`.
        progress: Told how far it is.

    Returns:
        The rows.
    """
    scratch, dtype, num_users = writer.scratch, record_type(options.preference, options.timed), len(gathered.users)
    dealt = Dealt(
        [
            Buckets(scratch / name, (count + rows[TO_DEAL]) // options.bucket_rows + 1, dtype)
            for name, count in zip(PARTS, rows[:TO_DEAL], strict=True)
        ],
        np.zeros(num_users, dtype=np.bool_),
        np.zeros(len(gathered.items), dtype=np.bool_),
    )
    dealer = _Dealer(gathered, splitter, dealt, options.seed, counts, scratch, progress)
    writer.write_index("observed", dealer.observed(), num_users)
    if dealer.logged.rows:
        pairs = ((records["user"], records["item"]) for records in dealer.logged.chunks())
        writer.write_index("logged", pairs, num_users)
    dealer.logged.remove()
    require_rows(dealer.numbers, counts["rows_read"])
    return dealt


class _Dealer:
    def __init__(
        self,
        gathered: Gathered,
        splitter: Splitter,
        dealt: Dealt,
        seed: int,
        counts: Counter[str],
        scratch: Path,
        progress: StageProgress,
    ) -> None:
        self._gathered, self._splitter, self._dealt = gathered, splitter, dealt
        self._seed, self._counts, self._progress = seed, counts, progress
        self.numbers = [0] * len(PARTS)
        self.logged = RecordFile(scratch / "logged", _PAIR)

    def observed(self) -> Iterator[tuple[NDArray[Any], NDArray[Any]]]:
        """Deals bucket after bucket and yields the training pairs of each, in order."""
        done = 0
        with Prefetcher(self._split(), depth=1) as ahead:  # the next bucket is dealt in a thread
            for labelled, unclear, rows in ahead:
                done += rows
                train = labelled[labelled["split"] == TRAIN_PART]
                self._dealt.user_trained[train["user"]] = True
                self._dealt.item_trained[train["item"]] = True
                for part in range(UNCLEAR_PART):
                    self._place(part, labelled[labelled["split"] == part])
                self._place(UNCLEAR_PART, self._without_label(unclear, train))
                self._progress("shuffle", done, self._gathered.rows)
                yield train["user"], train["item"]

    def _split(self) -> Iterator[tuple[Records, Records, int]]:
        """Labelled rows with their splits, and unclear rows of train, of each bucket of so many rows."""
        for file in self._gathered.buckets.files:
            records = file.take()
            clear = records["label"] >= 0
            labelled, unclear = records[clear], records[~clear]
            yield labelled, self._deal(labelled, unclear), records.size

    def _deal(self, labelled: Records, unclear: Records) -> Records:
        """Deals the labelled rows, and returns the unclear ones that training may know of."""
        open_rows, open_unclear = labelled["split"] == TO_DEAL, unclear["split"] == TO_DEAL
        to_deal = labelled[open_rows]
        kept = ~open_unclear
        kept[open_unclear] = self._splitter.deal(to_deal, unclear[open_unclear])
        labelled["split"][open_rows] = to_deal["split"]
        self._counts["unclear_rows_outside_train"] += int((~kept).sum())
        return unclear[kept]

    def _place(self, part: int, records: Records) -> None:
        first = self.numbers[part]
        self.numbers[part] += records.size
        records["key"] = hash_u64(self._seed, SHUFFLE, part, np.arange(first, self.numbers[part]))
        buckets = self._dealt.buckets[part]
        # Monotone in the hash, so that sorted buckets one after the other are one sorted sequence.
        buckets.distribute(records, uniform_below(records["key"], len(buckets.files)))

    def _without_label(self, unclear: Records, train: Records) -> Records:
        labelled = np.isin(_keys(unclear), _keys(train), assume_unique=True)
        self._counts[f"{UNCLEAR}_rows_with_label"] += int(labelled.sum())
        unclear = unclear[~labelled]
        pairs = np.empty(unclear.size, dtype=_PAIR)
        pairs["user"], pairs["item"] = unclear["user"], unclear["item"]
        self.logged.append(pairs)
        return unclear


def _keys(records: Records) -> NDArray[np.int64]:
    return (records["user"].astype(np.int64) << 32) | records["item"]
