"""The way in: rows get dense ids and meet the other rows of their users."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa

from distributed_il.dataset import SPLITS
from distributed_il.errors import UserError
from distributed_il.prepare.build_options import ALL, BuildOptions, Progress
from distributed_il.prepare.id_encoder import IdEncoder
from distributed_il.prepare.spill import Buckets, RecordFile, record_type


@dataclass(frozen=True, slots=True)
class Gathered:
    """All rows of the source, on disk."""

    users: pa.Array
    """External ids; place k is dense id k."""
    items: pa.Array
    buckets: Buckets
    """Rows of whole users, users ascending from bucket to bucket, a user's rows in the source's order."""
    rows: int
    dealt: bool
    """Whether the rows are still to be dealt to splits; until then they count as rows of train."""


def gather(
    chunks: Iterable[tuple[str, pa.Table]],
    scratch: Path,
    options: BuildOptions,
    *,
    num_rows: int,
    progress: Progress,
) -> Gathered:
    """Reads all rows once and groups them by user.

    They are first written down with provisional ids, because only with the last row are all ids known.

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
    dtype = record_type(options.preference)
    encoders = {"user": IdEncoder("user"), "item": IdEncoder("item")}
    spool = RecordFile(scratch / "spool", dtype)
    numbers: Counter[str] = Counter()
    for split, table in chunks:
        records = np.empty(table.num_rows, dtype=dtype)
        for name, encoder in encoders.items():
            records[name] = encoder.encode(table.column(name).combine_chunks())
        records["label"] = table.column("label").fill_null(-1).to_numpy()
        records["split"] = 0 if split == ALL else SPLITS.index(split)
        records["key"] = np.arange(numbers[split], numbers[split] + table.num_rows)
        if options.preference:
            records["preference"] = table.column("preference").to_numpy()
        spool.append(records)
        numbers[split] += table.num_rows
        progress("read", spool.rows, num_rows)
    if ALL in numbers and len(numbers) > 1:
        raise ValueError("either every chunk has a split or none has")
    if not spool.rows:
        raise UserError("the source holds no rows; give a source with rows")
    return _group(spool, encoders, scratch, options, dealt=ALL in numbers, progress=progress)


def _group(
    spool: RecordFile,
    encoders: dict[str, IdEncoder],
    scratch: Path,
    options: BuildOptions,
    *,
    dealt: bool,
    progress: Progress,
) -> Gathered:
    users, user_ranks, user_rows = encoders["user"].sorted()
    items, item_ranks, _ = encoders["item"].sorted()
    # A user's bucket follows from the rows before it, so that buckets are full whatever users do.
    bucket_of_user = (np.cumsum(user_rows) - user_rows) // options.bucket_rows
    rows, done = spool.rows, 0
    buckets = Buckets(scratch / "by-user", rows // options.bucket_rows + 1, record_type(options.preference))
    for records in spool.chunks():
        records["user"] = user_ranks[records["user"]]
        records["item"] = item_ranks[records["item"]]
        buckets.distribute(records, bucket_of_user[records["user"]])
        done += records.size
        progress("group", done, rows)
    spool.remove()
    return Gathered(users, items, buckets, rows, dealt)
