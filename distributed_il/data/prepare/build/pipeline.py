"""Builds a dataset from tables of raw pairs, with memory for the vocabularies and one bucket of rows.

    chunks ─gather→ buckets of users ─deduplicate→ one row a pair ─k_core→ active users and items
      ─assign_splits→ pair indexes, buckets by hash ─write_shuffled→ lanes

Rows pass through files beside the output. Buckets hold whole users in ascending order, so that a pair's rows meet and
the pair indexes come out in order. Deduplicated rows are numbered by (user, item), and a row's split and its place in
the shuffled order follow from (seed, number): neither the order of the source's rows nor a bucket's size matters.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from distributed_il.core.files import explain_full_disk
from distributed_il.core.progress import StageProgress
from distributed_il.data.dataset import Dataset, DatasetWriter, Manifest, SourceFile
from distributed_il.data.prepare.build.assign_splits import assign_splits
from distributed_il.data.prepare.build.deduplicate import deduplicate
from distributed_il.data.prepare.build.gather import Gathered, gather
from distributed_il.data.prepare.build.k_core import k_core
from distributed_il.data.prepare.build.options import UNASSIGNED, BuildOptions, Policies
from distributed_il.data.prepare.build.side_features import SideFeatures, code_features
from distributed_il.data.prepare.build.splitters import make_splitter
from distributed_il.data.prepare.build.write_shuffled import write_shuffled

Documents = Callable[[Dataset, Path, NDArray[np.int64], NDArray[np.int64]], Mapping[str, str]]
"""Texts by file name, from the dataset, a directory for temporary files, and the training rows of each user and of each
item."""


def build_dataset(
    output: str,
    chunks: Iterable[tuple[str, pa.Table]],
    options: BuildOptions,
    *,
    features: Iterable[SideFeatures] = (),
    source: Iterable[SourceFile] = (),
    num_rows: int = 0,
    locate: Callable[[str, int], str] = lambda split, row: f"{split}, row {row + 1}",
    progress: StageProgress = lambda stage, done, total: None,
    late_counts: Callable[[], Mapping[str, int]] = dict,
    documents: Documents = lambda dataset, scratch, user_rows, item_rows: {},
) -> Manifest:
    """Builds a dataset from pairs with labels.

    Args:
        output: Local path or URI; it must not exist, or be an empty directory.
        chunks: Split (`train`, `valid`, `test`; or `all` where rows have no split yet, throughout or but for those of
            test) and a table of user and item (int64 or string, maybe dictionary-encoded), label (int8; 0, 1, or null
            where unclear), maybe row (int64, for `locate`, ascending within a table; the tables may then come in any
            order), with `options.preference` preference (float32), with `options.weighted` of training rows weight
            (float32), which is 1 where a table lacks it, and, where the split goes by it, time (timestamp,
            int64 or float64). Read once.
        options: See there.
        features: Side features of users, of items, or of both, whose ids are of the type of the log's.
        source: The raw files, for the manifest; asked for when all else is done.
        num_rows: Rows of all chunks, for `progress`; 0 if unknown.
        locate: Where the row of that number, from 0, of a split stands in the source, for messages.
        progress: Told how far it is.
        late_counts: For the manifest; asked when all rows are read.
        documents: Makes texts that lie beside the dataset, by file name, and exposure factors where it wants some.

    Returns:
        The manifest; its `counts` has `rows_read` and the rows set aside, by reason.

    Raises:
        UserError: A policy forbids what the rows hold, a split has no rows, the output is taken, the disk is full.
    """
    counts: Counter[str] = Counter()
    with explain_full_disk(output), _writer(output, options) as writer:
        gathered = gather(chunks, writer.scratch, options, num_rows=num_rows, progress=progress)
        counts["rows_read"] = gathered.rows - gathered.parent_rows
        if options.parent is not None:
            counts["parent_rows"] = gathered.parent_rows
        rows = deduplicate(gathered, options, counts, locate=locate, progress=progress)
        gathered, rows = k_core(gathered, rows, options, counts)
        splitter = make_splitter(gathered, rows[UNASSIGNED], options, test_is_given=gathered.test_is_given)
        split_rows = assign_splits(gathered, rows, splitter, writer, options, counts, progress=progress)
        write_shuffled(split_rows, writer, options, counts, progress=progress)
        _write_features(features, gathered, options, writer, counts)
        counts.update(late_counts())
        return writer.finish(
            users=gathered.users,
            items=gathered.items,
            policies={name: getattr(options.policies, name) for name in Policies.__slots__},
            counts=counts,
            source=tuple(source),
            documents=lambda dataset: documents(dataset, writer.scratch, *writer.train_rows()),
            parent="" if options.parent is None else options.parent.fingerprint,
            id_rule=options.id_rule,
            times=split_rows.times,
            reading=options.reading,
        )


def _writer(output: str, options: BuildOptions) -> DatasetWriter:
    return DatasetWriter(
        output,
        name=options.name,
        rule=options.rule,
        seed=options.seed,
        lanes=options.lanes,
        row_group_rows=options.row_group_rows,
    )


def _write_features(
    features: Iterable[SideFeatures],
    gathered: Gathered,
    options: BuildOptions,
    writer: DatasetWriter,
    counts: Counter[str],
) -> None:
    """Writes the codes of the side features of users and items, and counts whose they are."""
    for side in features:
        vocabulary = gathered.users if side.entity == "users" else gathered.items
        coded = code_features(side, vocabulary, options.parent)
        writer.write_features(side.entity, coded.codes, coded.values, coded.widths)
        counts.update(coded.counts)
