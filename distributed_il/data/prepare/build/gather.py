"""The way in: rows get dense ids and meet the other rows of their users."""

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
from distributed_il.data.dataset import SPLITS, UNCLEAR, Dataset
from distributed_il.data.prepare.build.external_ids import IdSpool, Numbering, Vocabulary
from distributed_il.data.prepare.build.options import ALL, TEST_PART, TO_DEAL, TRAIN_PART, BuildOptions
from distributed_il.data.prepare.build.record_buckets import Buckets, RecordFile, Records, record_type

PARENT_ROW = 1 << 62
"""Numbers of rows of the parent dataset have this bit set."""


@dataclass(frozen=True, slots=True)
class Gathered:
    """All rows of the source, on disk."""

    users: Vocabulary
    """External ids; place k is dense id k."""
    items: Vocabulary
    buckets: Buckets
    """Rows of whole users, users ascending from bucket to bucket, a user's rows in the source's order."""
    rows: int
    """Rows of the source, and of the parent dataset where there is one."""
    parent_rows: int
    test_is_given: bool
    """Whether rows of the source have the split test while others are to be dealt."""


@dataclass(slots=True)
class _Spool:
    """Rows as they come, with ids that are numbered piece by piece."""

    file: RecordFile
    dtype: np.dtype[np.void]
    ids: dict[str, IdSpool]
    sizes: list[int] = field(default_factory=list[int])
    """Rows of each piece."""
    places: list[int] = field(default_factory=list[int])
    """Where each piece stands in the source's order."""
    numbers: Counter[str] = field(default_factory=Counter[str])
    """Rows of each split."""

    def add(self, split: str, table: pa.Table) -> None:
        """Writes a piece of the source down."""
        records = np.zeros(table.num_rows, dtype=self.dtype)
        for name, ids in self.ids.items():
            records[name] = ids.encode(table.column(name).combine_chunks())
        records["label"] = table.column("label").fill_null(-1).to_numpy()
        records["split"] = TO_DEAL if split == ALL else SPLITS.index(split)
        if "row" in table.schema.names:
            records["key"] = table.column("row").to_numpy()
        else:
            records["key"] = np.arange(self.numbers[split], self.numbers[split] + table.num_rows)
        for name in ("preference", "time"):
            if name in (self.dtype.names or ()) and name in table.schema.names:
                records[name] = table.column(name).to_numpy()
        self.file.append(records)
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
    """Reads all rows once and groups them by user.

    They are first written down with numbers that hold for their piece, because only with the last row are all ids
    known.

    Args:
        chunks: As for `build_dataset`.
        scratch: A local directory for the files.
        options: See there.
        num_rows: Rows of all chunks, 0 if unknown.
        progress: Told how far it is.

    Returns:
        The rows.

    Raises:
        UserError: Ids of two types are mixed, or there are no rows.
    """
    dtype, parent = record_type(options.preference, options.timed), options.parent
    entities: dict[str, Literal["users", "items"]] = {"user": "users", "item": "items"}
    known = {name: None if parent is None else parent.vocabulary(entity) for name, entity in entities.items()}
    ids = {name: IdSpool(name, scratch / f"{name}-ids", known[name]) for name in known}
    spool = _Spool(RecordFile(scratch / "spool", dtype), dtype, ids)
    for split, table in chunks:
        if table.num_rows:
            spool.add(split, table)
            progress("read", spool.file.rows, num_rows)
    mixed = ALL in spool.numbers and len(spool.numbers) > 1
    if mixed and parent is None and not spool.numbers.keys() <= {ALL, SPLITS[TEST_PART]}:
        raise ValueError("either every chunk has a split or none has, or but for those of test")
    if not spool.file.rows:
        raise UserError("the source holds no rows; give a source with rows")
    return _group(spool, scratch, options, test_is_given=mixed and SPLITS[TEST_PART] in spool.numbers, told=progress)


def _group(
    spool: _Spool, scratch: Path, options: BuildOptions, *, test_is_given: bool, told: StageProgress
) -> Gathered:
    users, items = (spool.ids[name].finish() for name in ("user", "item"))
    bucket_of_user = _buckets_of_users(users, options)
    rows = spool.file.rows + _parent_size(options.parent)
    buckets = Buckets(scratch / "by-user", rows // options.bucket_rows + 1, spool.dtype)
    done = 0
    for records in _all_records(spool, users, items, options.parent):
        buckets.distribute(records, bucket_of_user[records["user"]])
        done += records.size
        told("group", done, rows)
    spool.file.remove()
    return Gathered(users.vocabulary, items.vocabulary, buckets, rows, rows - sum(spool.sizes), test_is_given)


def _buckets_of_users(users: Numbering, options: BuildOptions) -> NDArray[np.uint16]:
    """A user's bucket follows from the rows before it, so that buckets are full whatever users do."""
    rows = users.rows
    if options.parent is not None:
        for records in _parent_records(options.parent, record_type(preference=False)):
            rows += np.bincount(records["user"], minlength=rows.size)
    before = np.cumsum(rows)
    before -= rows
    before //= options.bucket_rows
    return before.astype(np.uint16)


def _all_records(spool: _Spool, users: Numbering, items: Numbering, parent: Dataset | None) -> Iterable[Records]:
    """The parent's rows, then the source's in its order, with dense ids."""
    if parent is not None:
        yield from _parent_records(parent, spool.dtype)
    in_order = np.argsort(spool.places, kind="stable").tolist()
    for piece, records in zip(in_order, spool.file.pieces(spool.sizes, in_order), strict=True):
        records["user"] = users.dense(piece, records["user"])
        records["item"] = items.dense(piece, records["item"])
        yield records


def _parent_size(parent: Dataset | None) -> int:
    return 0 if parent is None else sum(split.rows for split in parent.manifest.splits.values())


def _parent_records(parent: Dataset, dtype: np.dtype[np.void]) -> Iterable[Records]:
    for split in parent.manifest.splits:
        columns = ["user_id", "item_id", *(["label"] if split != UNCLEAR else [])]
        columns += ["preference"] * ("preference" in (dtype.names or ()))
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
                yield records
