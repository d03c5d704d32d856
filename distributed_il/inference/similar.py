"""The rows of a table most like given ones, exactly; and those of all or given ids, as a result in parts."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import normalize, pad

from distributed_il.data.id_files.id_lookup import IdLookup
from distributed_il.evaluation.top_items import ITEMS_AT_ONCE, USERS_AT_ONCE, TopItems, no_items, with_block
from distributed_il.inference.result_parts import CountedTable

ROWS_PER_PART = 4096


@torch.no_grad()
def most_similar(
    table: NDArray[Any], known: NDArray[np.bool_], rows: NDArray[np.int64], *, top: int
) -> tuple[Tensor, Tensor]:
    """Finds the rows of highest cosine with each given one, itself left out; of equal ones those of lower number.

    cos(a, b) = ⟨a, b⟩ / (‖a‖·‖b‖), 0 where a row is 0.

    Args:
        table: Rows, float [n, dim].
        known: Whether the model has learned a row, bool [n]; the others are like none.
        rows: Numbers of those that are asked for, int64 [q]; −1 for one that there is not.
        top: How many of each; at most n − 1 are found.

    Returns:
        Numbers of rows, int64 [q, top], and their cosines, [q, top], best first; −∞ where there are no more.
    """
    top = min(top, len(table) - 1)
    found = [TopItems(torch.zeros((0, top), dtype=torch.int64), torch.from_numpy(np.zeros((0, top), table.dtype)))]
    for start in range(0, rows.size, USERS_AT_ONCE):
        own = torch.from_numpy(rows[start : start + USERS_AT_ONCE])
        own_rows = _unit(table.take(rows[start : start + USERS_AT_ONCE], axis=0))
        best, places = no_items(len(own), own_rows.dtype), torch.arange(len(own))
        for first in range(0, len(table), ITEMS_AT_ONCE):
            # Block by block: processes share the table, and none has room for another of unit rows.
            cosines = own_rows @ _unit(table[first : first + ITEMS_AT_ONCE].copy()).T
            cosines[:, torch.from_numpy(~known[first : first + ITEMS_AT_ONCE])] = -torch.inf
            here = (own >= first) & (own < first + cosines.shape[1])
            cosines[places[here], own[here] - first] = -torch.inf
            best = with_block(best, cosines, first, top)
        strange = torch.from_numpy(~known)[own] | (own < 0)
        best.logits[strange] = -torch.inf
        # Where fewer than `top` are known, lists are shorter.
        short = (0, top - best.logits.shape[1])
        found.append(TopItems(pad(best.item_ids, short), pad(best.logits, short, value=-torch.inf)))
    return torch.cat([best.item_ids for best in found]), torch.cat([best.logits for best in found])


def _unit(rows: NDArray[Any]) -> Tensor:
    return normalize(torch.from_numpy(rows), dim=1)


@dataclass(frozen=True, eq=False, slots=True)
class Similarities:
    """What is most like each item, or each user; a `Work`."""

    table: NDArray[Any]  # the model's rows, [n, dim]
    known: NDArray[np.bool_]  # whether the model knows each, bool [n]
    lookup: IdLookup
    asked: pa.Array  # external ids for which the most similar ones are wanted
    top: int
    made_from: Mapping[str, Any]  # everything that decides the result, as plain values

    @property
    def schema(self) -> pa.Schema:
        entity, kind = self.lookup.entity, self.lookup.ids.type
        number = pa.from_numpy_dtype(self.table.dtype)
        return pa.schema({f"{entity}_id": kind, "rank": pa.int32(), f"similar_{entity}_id": kind, "cosine": number})

    @property
    def rows(self) -> Sequence[int]:
        each = min(self.top, len(self.table) - 1)
        return [each * min(ROWS_PER_PART, len(self.asked) - at) for at in range(0, len(self.asked), ROWS_PER_PART)]

    @property
    def nbytes(self) -> int:
        return self.table.nbytes + self.known.nbytes + self.lookup.nbytes + self.asked.nbytes

    def tables(self, part: int) -> Iterator[CountedTable]:
        own = self.asked.slice(part * ROWS_PER_PART, ROWS_PER_PART)
        table = self.of(own)
        yield table, {"rows": table.num_rows}

    def of(self, ids: pa.Array) -> pa.Table:
        """Returns the most similar ones of some ids; no row for an id that the model does not know."""
        numbers, cosines = most_similar(self.table, self.known, self.lookup.rows(ids), top=self.top)
        places, ranks = (cosines > -torch.inf).numpy().nonzero()
        columns = [ids.take(pa.array(places)), pa.array((ranks + 1).astype(np.int32))]
        columns += [self.lookup.external(numbers[places, ranks].numpy()), pa.array(cosines[places, ranks].numpy())]
        return pa.table(columns, schema=self.schema)
