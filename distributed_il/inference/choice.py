"""Which items may be recommended to whom, by files of external ids; and what an item file tells beside them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from distributed_il.core.errors import UserError
from distributed_il.data.id_files.id_lookup import IdLookup
from distributed_il.data.id_files.pair_files import PairFiles
from distributed_il.data.id_files.reading import read_ids
from distributed_il.data.sampling import PairIndex
from distributed_il.inference.config import Cold


@dataclass(frozen=True, eq=False, slots=True)
class Choice:
    """Which items may be recommended to whom."""

    left_out: tuple[PairIndex, ...] = ()  # pairs that may not be
    allowed: NDArray[np.bool_] | None = None  # items that may be, to anybody, bool [num_items]; None for all
    cold: Cold = "last"  # where items go that the model does not know

    @property
    def nbytes(self) -> int:
        """Returns the bytes of its arrays."""
        pairs = sum(index.indptr.nbytes + index.items.nbytes for index in self.left_out)
        return pairs + (0 if self.allowed is None else self.allowed.nbytes)


def read_pairs(files: PairFiles, users: IdLookup, items: IdLookup) -> PairIndex:
    """Reads pairs of external ids; those of unknown users or items are passed over.

    Raises:
        UserError: A file is damaged, or holds what is no id.
    """
    pairs = [np.zeros((2, 0), np.int64)]
    for piece in range(len(files.pieces)):
        for user_ids, item_ids in read_ids(files, piece, [users, items]):
            rows = np.stack([users.rows(user_ids), items.rows(item_ids)])
            pairs.append(rows[:, (rows >= 0).all(axis=0)])
    user_rows, item_rows = np.concatenate(pairs, axis=1)
    return PairIndex.from_pairs(user_rows, item_rows, len(users.ids))


def read_fields(files: PairFiles, items: IdLookup) -> pa.Table:
    """Reads what an item file tells; its first column is that of ids.

    Returns:
        The other columns, a row for each item of the dataset; null for one that the file lacks.

    Raises:
        UserError: A file is damaged, holds what is no id, has no rows, an item twice, or columns of several types.
    """
    names, tables = list(files.columns[1:]), list[pa.Table]()
    rows = [np.zeros(0, np.int64)]
    for piece in range(len(files.pieces)):
        for ids, *fields in read_ids(files, piece, [items]):
            rows.append(items.rows(ids))
            tables.append(pa.table(fields, names=names))
    if not tables:
        raise UserError(f"{files.files[0][0]} holds no rows; give a file with a row for each item")
    dense = np.concatenate(rows)
    known = np.flatnonzero(dense >= 0)
    found, first = np.unique(dense[known], return_index=True)
    if found.size < known.size:
        twice = items.external(dense[np.delete(known, first)][:1])[0].as_py()
        raise UserError(f"{files.files[0][0]} has the item {twice!r} in several rows; leave one for each item")
    places = np.full(len(items.ids), -1)
    places[found] = known[first]
    try:
        whole = pa.concat_tables(tables)
    except pa.ArrowInvalid as error:
        raise UserError(f"{files.files[0][0]}: columns are of several types in several files ({error})") from error
    return whole.take(pa.array(places, mask=places < 0))
