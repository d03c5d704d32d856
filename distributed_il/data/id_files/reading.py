"""Reads files of external ids, piece by piece, and which items of a dataset they name."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from distributed_il.core.errors import UserError
from distributed_il.data.dataset import Dataset
from distributed_il.data.id_files.id_lookup import IdLookup
from distributed_il.data.id_files.pair_files import PairFiles, find_pairs
from distributed_il.data.prepare.sources.column_types import BadValueError


def read_ids(files: PairFiles, piece: int, lookups: Sequence[IdLookup]) -> Iterator[list[pa.Array]]:
    """Reads the columns of a piece as ids, each of the type of its lookup; columns without a lookup as they are.

    Raises:
        UserError: A file is damaged, or holds what is no id; with its line or row.
    """
    file, part = files.pieces[piece]
    for found in file.read(list(files.columns), part=part):
        ids: list[pa.Array] = []
        for name, lookup in zip(files.columns, lookups, strict=False):
            try:
                ids.append(lookup.read(found.batch.column(name)))
            except BadValueError as error:
                place = file.place(int(found.rows[error.row]), part)
                raise UserError(f"{place}, column {name}: {error.problem}") from error
        yield ids + [found.batch.column(name) for name in files.columns[len(lookups) :]]


def items_of_file(path: str, dataset: Dataset) -> NDArray[np.bool_]:
    """Reads files of external ids of items, in a column `item_id`, or else one called as in the dataset's log.

    Args:
        path: A file, a directory or a pattern, as of `find_pairs`.
        dataset: Whose items they are.

    Returns:
        Which items they name, bool [num_items].

    Raises:
        UserError: As `find_pairs` and `read_items`.
    """
    in_log = dataset.manifest.reading.columns.get("item")
    return read_items(
        find_pairs(path, ["item_id"], name_of=lambda _: in_log), IdLookup("item", dataset.vocabulary("items"))
    )


def read_items(files: PairFiles, items: IdLookup) -> NDArray[np.bool_]:
    """Reads external ids of items; returns which items they are, bool [num_items]. Unknown ones are passed over.

    Raises:
        UserError: A file is damaged or holds what is no id, or none of them is known.
    """
    named = np.zeros(len(items.ids), np.bool_)
    for piece in range(len(files.pieces)):
        for (ids,) in read_ids(files, piece, [items]):
            rows = items.rows(ids)
            named[rows[rows >= 0]] = True
    if not named.any():
        raise UserError(f"{files.files[0][0]}: none of its items is one of the dataset's; give the ids as prepared")
    return named
