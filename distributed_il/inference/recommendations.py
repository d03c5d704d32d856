"""The best items of users, as a result in parts."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from distributed_il.data.id_files.id_lookup import IdLookup
from distributed_il.data.id_files.pair_files import PairFiles
from distributed_il.data.id_files.reading import read_ids
from distributed_il.evaluation.top_items import USERS_AT_ONCE
from distributed_il.inference.choice import Choice
from distributed_il.inference.model import ServedModel
from distributed_il.inference.pair_results import ANSWERED_BY, count_fallbacks, fallback_column
from distributed_il.inference.result_parts import CountedTable
from distributed_il.inference.top_k import top_items

USERS_PER_PART = 4096


@dataclass(frozen=True, eq=False, slots=True)
class Recommendations:
    """The K best items of each user; a `Work`."""

    model: ServedModel
    users: IdLookup
    items: IdLookup
    asked: pa.Array  # external ids of the users whose items are wanted
    top: int
    choice: Choice  # which items, to whom
    made_from: Mapping[str, Any]  # everything that decides the result, as plain values
    min_score: float = 0.0  # least ŷ
    fields: pa.Table = field(default_factory=lambda: pa.table({}))  # what is told of each item of the dataset
    answered_by: str = "model"  # who answers for those that the model knows

    @property
    def schema(self) -> pa.Schema:
        number = pa.from_numpy_dtype(self.model.items.dtype)
        ids = {"user_id": self.users.ids.type, "rank": pa.int32(), "item_id": self.items.ids.type}
        fields = dict(zip(self.fields.column_names, self.fields.schema.types, strict=True))
        return pa.schema({**ids, "score": number, "answered_by": ANSWERED_BY, **fields})

    @property
    def rows(self) -> Sequence[int]:
        users, top = len(self.asked), min(self.top, len(self.items.ids))
        return [top * min(USERS_PER_PART, users - start) for start in range(0, users, USERS_PER_PART)]

    @property
    def nbytes(self) -> int:
        tables = self.users.nbytes + self.items.nbytes + self.asked.nbytes + self.fields.nbytes
        return self.model.nbytes + tables + self.choice.nbytes

    def tables(self, part: int) -> Iterator[CountedTable]:
        own = self.asked.slice(part * USERS_PER_PART, USERS_PER_PART)
        user_ids = self.users.rows(own)  # once, as finding text takes a look at all ids
        for start in range(0, len(own), USERS_AT_ONCE):
            yield self.table(own.slice(start, USERS_AT_ONCE), user_ids[start : start + USERS_AT_ONCE])

    def table(self, users: pa.Array, user_ids: NDArray[np.int64]) -> CountedTable:
        """Returns the items of some users, by external and by dense ids, and what they add to the counts."""
        best = top_items(self.model, user_ids, top=self.top, choice=self.choice)
        scores = self.model.probabilities(best.logits)
        kept = ((best.logits > -np.inf) & (scores >= self.min_score)).numpy()
        places, columns = kept.nonzero()
        ranks = kept.cumsum(axis=1)[places, columns].astype(np.int32)
        items, scores = best.item_ids[places, columns].numpy(), scores[places, columns]
        fallback = self.model.known.fallbacks(user_ids[places], items)
        ids = [users.take(pa.array(places)), pa.array(ranks), self.items.external(items)]
        told = [pa.array(scores.numpy()), fallback_column(fallback, self.answered_by)]
        fields = self.fields.take(pa.array(items)).columns
        return pa.table([*ids, *told, *fields], schema=self.schema), count_fallbacks(fallback)


def read_asked(files: PairFiles, lookup: IdLookup) -> pa.Array:
    """Reads external ids, each once, in the order of their first row.

    Raises:
        UserError: A file is damaged, or holds what is no id.
    """
    chunks = [ids for piece in range(len(files.pieces)) for (ids,) in read_ids(files, piece, [lookup])]
    return pa.chunked_array(chunks, lookup.ids.type).unique()
