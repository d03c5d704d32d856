"""Reads all rows once, gives them dense ids, and groups them by user."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from distributed_il.core.errors import UserError
from distributed_il.core.progress import StageProgress
from distributed_il.data.dataset import SPLITS, UNCLEAR, WEIGHT, Dataset
from distributed_il.data.prepare.build.external_ids import ExternalIds, Numbering, Vocabulary
from distributed_il.data.prepare.build.moments import TimeScale
from distributed_il.data.prepare.build.options import ALL, TEST_PART, TRAIN_PART, UNASSIGNED, BuildOptions
from distributed_il.data.prepare.build.record_buckets import Bucket, Records, distribute, make_buckets, record_type

_KNOWN_SHARE = 0.01
"""Share of a new log's users, and of its items, of which a log that goes on knows more."""
PARENT_ROW = 1 << 62
"""Numbers of rows of the parent dataset have this bit set."""


@dataclass(frozen=True, slots=True)
class Gathered:
    """All rows of the source, on disk."""

    users: Vocabulary
    """External ids; place k is dense id k."""
    items: Vocabulary
    buckets: list[Bucket]
    """Rows of whole users, users ascending from bucket to bucket, a user's rows in the source's order."""
    rows: int
    """Rows of the source, and of the parent dataset where there is one."""
    parent_rows: int
    test_is_given: bool
    """Whether rows of the source have the split test while others are to be dealt."""
    scale: TimeScale
    """What their times are, where they have some."""


@dataclass(slots=True)
class _Incoming:
    """Rows in the order in which they come, with ids that are numbered piece by piece."""

    bucket: Bucket
    dtype: np.dtype[np.void]
    ids: dict[str, ExternalIds]
    sizes: list[int] = field(default_factory=list[int])
    """Rows of each piece."""
    places: list[int] = field(default_factory=list[int])
    """Where each piece stands in the source's order."""
    exact: list[bool] = field(default_factory=list[bool])
    """Whether the times of each piece are integers."""
    scale: TimeScale = field(default_factory=TimeScale)
    numbers: Counter[str] = field(default_factory=Counter[str])
    """Rows of each split."""

    def add(self, split: str, table: pa.Table) -> None:
        """Appends a piece of the source."""
        records = np.zeros(table.num_rows, dtype=self.dtype)
        for name, ids in self.ids.items():
            records[name] = ids.encode(table.column(name).combine_chunks())
        records["label"] = table.column("label").fill_null(-1).to_numpy()
        records["split"] = UNASSIGNED if split == ALL else SPLITS.index(split)
        if "row" in table.schema.names:
            records["key"] = table.column("row").to_numpy()
        else:
            records["key"] = np.arange(self.numbers[split], self.numbers[split] + table.num_rows)
        names = set(self.dtype.names or ()).intersection(table.schema.names)
        if "preference" in names:
            records["preference"] = table.column("preference").to_numpy()
        if WEIGHT in (self.dtype.names or ()):
            records[WEIGHT] = table.column(WEIGHT).to_numpy() if WEIGHT in names else 1
        exact = True
        if "time" in names:
            records["time"], exact = self.scale.raw(table.column("time"))
        self.exact.append(exact)
        self.bucket.append(records)
        self.places.append(int(records["key"][0]) if "row" in table.schema.names else len(self.sizes))
        self.sizes.append(table.num_rows)
        self.numbers[split] += table.num_rows


def gather(
    chunks: Iterable[tuple[str, pa.Table]],
    scratch: Path,
    options: BuildOptions,
    *,
    num_rows: int,
    progress: StageProgress,
) -> Gathered:
    """Reads all rows once, as `build_dataset` gets them, and groups them by user, in files of the local `scratch`.

    They are first written with numbers that hold for their piece, because only with the last row are all ids known.

    Raises:
        UserError: Ids of two types are mixed, or there are no rows.
    """
    dtype, parent = record_type(options.preference, options.timed, options.weighted), options.parent
    entities: dict[str, Literal["users", "items"]] = {"user": "users", "item": "items"}
    known = {name: None if parent is None else parent.vocabulary(entity) for name, entity in entities.items()}
    ids = {name: ExternalIds(name, scratch / f"{name}-ids", known[name]) for name in known}
    incoming = _Incoming(Bucket(scratch / "incoming", dtype), dtype, ids)
    for split, table in chunks:
        if table.num_rows:
            incoming.add(split, table)
            progress("read", incoming.bucket.rows, num_rows)
    mixed = ALL in incoming.numbers and len(incoming.numbers) > 1
    if mixed and parent is None and not incoming.numbers.keys() <= {ALL, SPLITS[TEST_PART]}:
        raise ValueError("either every chunk has a split or none has, or but for those of test")
    if not incoming.bucket.rows:
        raise UserError("the source holds no rows; give a source with rows")
    return _group(
        incoming, scratch, options, test_is_given=mixed and SPLITS[TEST_PART] in incoming.numbers, progress=progress
    )


def _group(
    incoming: _Incoming, scratch: Path, options: BuildOptions, *, test_is_given: bool, progress: StageProgress
) -> Gathered:
    users, items = (incoming.ids[name].finish() for name in ("user", "item"))
    if options.parent is not None and not options.new_ids:
        _require_known(users, options.parent, "user", options.parent.num_users)
        _require_known(items, options.parent, "item", options.parent.num_items)
    bucket_of_user = _buckets_of_users(users, options)
    rows = incoming.bucket.rows + _parent_size(options.parent)
    buckets = make_buckets(scratch / "by-user", rows // options.bucket_rows + 1, incoming.dtype)
    done = 0
    for records in _all_records(incoming, users, items, options.parent):
        distribute(records, bucket_of_user[records["user"]], buckets)
        done += records.size
        progress("group", done, rows)
    incoming.bucket.remove()
    parent_rows = rows - sum(incoming.sizes)
    return Gathered(users.vocabulary, items.vocabulary, buckets, rows, parent_rows, test_is_given, scale=incoming.scale)


def _require_known(ids: Numbering, parent: Dataset, entity: str, known: int) -> None:
    """Raises if hardly any id of the new log is one of the parent's, so that they are probably written otherwise."""
    seen, old = int(np.count_nonzero(ids.rows)), int(np.count_nonzero(ids.rows[:known]))
    if old < _KNOWN_SHARE * seen:
        first = ", ".join(repr(one) for one in ids.vocabulary.slice(known, 3).to_pylist())
        before = ", ".join(repr(one) for one in ids.vocabulary.slice(0, 3).to_pylist())
        raise UserError(
            f"of the {seen:,} {entity}s of the new log only {old:,} are in {parent.path}, so they are probably written "
            f"otherwise: {first}, … there {before}, …; write them alike, or set new_ids if they are new"
        )


def _buckets_of_users(users: Numbering, options: BuildOptions) -> NDArray[np.uint16]:
    """Returns the bucket of each user, from the rows of the users before it, so that buckets are about full."""
    rows = users.rows
    if options.parent is not None:
        for records in _parent_records(options.parent, record_type(preference=False)):
            rows += np.bincount(records["user"], minlength=rows.size)
    before = np.cumsum(rows)
    before -= rows
    before //= options.bucket_rows
    return before.astype(np.uint16)


def _all_records(incoming: _Incoming, users: Numbering, items: Numbering, parent: Dataset | None) -> Iterable[Records]:
    """Yields the parent's rows, then the source's in its order, with dense ids."""
    if parent is not None:
        yield from _parent_records(parent, incoming.dtype)
    in_order = np.argsort(incoming.places, kind="stable").tolist()
    for piece, records in zip(in_order, incoming.bucket.pieces(incoming.sizes, in_order), strict=True):
        records["user"] = users.dense(piece, records["user"])
        records["item"] = items.dense(piece, records["item"])
        if "time" in (incoming.dtype.names or ()):
            records["time"] = incoming.scale.keys(records["time"].copy(), incoming.exact[piece])
        yield records


def _parent_size(parent: Dataset | None) -> int:
    return 0 if parent is None else sum(split.rows for split in parent.manifest.splits.values())


def _parent_records(parent: Dataset, dtype: np.dtype[np.void]) -> Iterable[Records]:
    for split in parent.manifest.splits:
        columns = ["user_id", "item_id", *(["label"] if split != UNCLEAR else [])]
        columns += ["preference"] * ("preference" in (dtype.names or ()))
        weighted = WEIGHT in (dtype.names or ()) and split == SPLITS[TRAIN_PART] and parent.weighted
        columns += [WEIGHT] * weighted
        for lane in range(parent.lanes):
            for block in parent.blocks(split, lane):
                table = parent.read_block(block, columns)
                records = np.zeros(block.rows, dtype=dtype)
                records["user"] = table.column("user_id").to_numpy()
                records["item"] = table.column("item_id").to_numpy()
                records["label"] = -1 if split == UNCLEAR else table.column("label").to_numpy()
                records["split"] = TRAIN_PART if split == UNCLEAR else SPLITS.index(split)
                first = PARENT_ROW + block.start * parent.lanes + lane
                records["key"] = np.arange(first, first + block.rows * parent.lanes, parent.lanes)
                if "preference" in (dtype.names or ()):
                    records["preference"] = table.column("preference").to_numpy()
                if WEIGHT in (dtype.names or ()):
                    records[WEIGHT] = table.column(WEIGHT).to_numpy() if weighted else 1
                yield records
