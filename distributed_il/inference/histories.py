"""Items for users whom the model was not trained on: folded in from their histories, then ranked as anybody."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from distributed_il.core.arrow_compute import pc
from distributed_il.core.errors import UserError
from distributed_il.data.exposure import Neighbours
from distributed_il.data.id_files.id_lookup import IdLookup
from distributed_il.data.id_files.pair_files import PairFiles
from distributed_il.data.id_files.reading import read_ids
from distributed_il.data.prepare.sources.column_types import BadValueError, read_labels
from distributed_il.data.sampling import PairIndex
from distributed_il.evaluation.fallbacks import KnownIds
from distributed_il.evaluation.top_items import USERS_AT_ONCE
from distributed_il.inference.fold_in import LabelledItems, UserFoldIn
from distributed_il.inference.model import ServedModel
from distributed_il.inference.recommendations import USERS_PER_PART, Recommendations
from distributed_il.inference.result_parts import CountedTable

FEWEST = 3
"""With fewer items that the model knows a user gets the items' means."""
_UNCLEAR = -1


@dataclass(frozen=True, eq=False, slots=True)
class Histories:
    """What some users have watched, of items that the dataset has.

    Attributes:
        users: Their external ids, each once.
        offsets: int64 [users + 1]: user u has the entries from offsets[u] to offsets[u + 1].
        items: Item of each entry, dense ids, int32 [entries].
        labels: 1, 0 or −1, where it is unclear, of each entry, int8 [entries].
    """

    users: pa.Array
    offsets: NDArray[np.int64]
    items: NDArray[np.int32]
    labels: NDArray[np.int8]

    @property
    def nbytes(self) -> int:
        """Returns the bytes of its arrays."""
        return self.users.nbytes + self.offsets.nbytes + self.items.nbytes + self.labels.nbytes

    def part(self, start: int, stop: int) -> Histories:
        """Returns those of a range of users."""
        offsets = self.offsets[start : stop + 1]
        entries = slice(int(offsets[0]), int(offsets[-1]))
        users = self.users.slice(start, stop - start)
        return Histories(users, offsets - offsets[0], self.items[entries], self.labels[entries])

    def folded(self, fold_in: UserFoldIn) -> tuple[ServedModel, PairIndex]:
        """Returns the model with these users' rows for its own, and what they have watched."""
        model = fold_in.model
        owners = np.repeat(np.arange(len(self.users)), np.diff(self.offsets))
        watched = PairIndex.from_pairs(owners, self.items.astype(np.int64), len(self.users))
        clear = (self.labels != _UNCLEAR) & model.known.items[self.items]
        bounds = np.append(0, np.cumsum(np.bincount(owners[clear], minlength=len(self.users))))
        labelled = LabelledItems(Neighbours(bounds, self.items[clear]), self.labels[clear])
        rows = fold_in.rows([Neighbours(watched.indptr, watched.items)], labelled).numpy()
        distinct = np.repeat(np.arange(len(self.users)), np.diff(watched.indptr))
        counted = np.bincount(distinct[model.known.items[watched.items]], minlength=len(self.users))
        tells = rows.any(axis=1)  # without exposure factors only labels tell anything
        known = KnownIds((counted >= FEWEST) & tells, model.known.items)
        codes = tuple(np.zeros((len(self.users), table.shape[1]), table.dtype) for table in model.codes[:1])
        return dataclasses.replace(model, users=rows, known=known, codes=codes + model.codes[1:]), watched


@dataclass(frozen=True, eq=False, slots=True)
class HistoryRecommendations:
    """The K best items of users who are folded in; a `Work`."""

    like: Recommendations  # how it is done; its users play no part
    fold_in: UserFoldIn
    histories: Histories
    leave_out: bool  # whether what they have watched is left out

    @property
    def schema(self) -> pa.Schema:
        return self.like.schema

    @property
    def rows(self) -> Sequence[int]:
        return dataclasses.replace(self.like, asked=self.histories.users).rows

    @property
    def nbytes(self) -> int:
        return self.like.nbytes + self.histories.nbytes

    @property
    def made_from(self) -> Mapping[str, Any]:
        return self.like.made_from

    def tables(self, part: int) -> Iterator[CountedTable]:
        own = range(len(self.histories.users))[part * USERS_PER_PART : (part + 1) * USERS_PER_PART]
        for start in own[::USERS_AT_ONCE]:
            some = self.histories.part(start, min(start + USERS_AT_ONCE, own.stop))
            model, watched = some.folded(self.fold_in)
            choice = dataclasses.replace(self.like.choice, left_out=(watched,) if self.leave_out else ())
            work = dataclasses.replace(self.like, model=model, choice=choice)
            yield work.table(some.users, np.arange(len(some.users)))


def read_histories(files: PairFiles, users: IdLookup, items: IdLookup) -> Histories:
    """Reads histories: columns of users and of items, and perhaps of labels; items that are not known are passed over.

    Raises:
        UserError: A file is damaged, holds what is no id, or a label other than 1, 0 or none.
    """
    ids: list[pa.Array] = [pa.array([], users.ids.type)]
    rows, labels = [np.zeros(0, np.int64)], [np.zeros(0, np.int8)]
    for piece in range(len(files.pieces)):
        for user_ids, item_ids, *told in read_ids(files, piece, [users, items]):
            ids.append(user_ids)
            rows.append(items.rows(item_ids))
            labels.append(_labels(told[0], files) if told else np.full(len(user_ids), _UNCLEAR, np.int8))
    coded = pa.chunked_array(ids).combine_chunks().dictionary_encode()
    owners, item_rows = coded.indices.to_numpy().astype(np.int64), np.concatenate(rows)
    order = np.flatnonzero(item_rows >= 0)
    order = order[np.argsort(owners[order], kind="stable")]
    counts = np.bincount(owners[order], minlength=len(coded.dictionary))
    offsets = np.append(0, np.cumsum(counts))
    return Histories(coded.dictionary, offsets, item_rows[order].astype(np.int32), np.concatenate(labels)[order])


def _labels(column: pa.Array, files: PairFiles) -> NDArray[np.int8]:
    if pa.types.is_dictionary(column.type):
        column = column.dictionary_decode()
    try:
        return pc.fill_null(read_labels(column), _UNCLEAR).to_numpy()
    except BadValueError as error:
        raise UserError(
            f"{files.files[0][0]}, column {files.columns[-1]}: {error.value!r} is no label; give 1, 0, or nothing for "
            "unclear"
        ) from error
