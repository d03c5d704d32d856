"""Scores and weights of pairs, as a result in parts."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from torch import Tensor

from distributed_il.data.id_files.id_lookup import IdLookup
from distributed_il.evaluation.fallbacks import FALLBACKS, MODEL
from distributed_il.inference.model import ServedModel
from distributed_il.inference.pair_sources import PairSource
from distributed_il.inference.result_parts import CountedTable
from distributed_il.methods.losses import inverse_dual_weights

ANSWERED_BY = pa.dictionary(pa.int8(), pa.string())


@dataclass(frozen=True, eq=False, slots=True)
class PairResults:
    """ŷ of each pair as `score`, and with `weights` its annotation w1 and w0 (Eq. 4) by the raw logit; a `Work`."""

    model: ServedModel
    users: IdLookup
    items: IdLookup
    source: PairSource
    weights: bool  # whether to annotate
    checkpoint: Mapping[str, Any]  # what identifies the model and its dataset

    @property
    def schema(self) -> pa.Schema:
        number = pa.from_numpy_dtype(self.model.users.dtype)
        names = ["w1", "w0", "score"] if self.weights else ["score"]
        columns = {"user_id": self.users.ids.type, "item_id": self.items.ids.type, **self.source.extra}
        return pa.schema({**columns, **dict.fromkeys(names, number), "answered_by": ANSWERED_BY})

    @property
    def rows(self) -> Sequence[int]:
        return self.source.rows

    @property
    def nbytes(self) -> int:
        return self.model.nbytes + self.users.nbytes + self.items.nbytes

    @property
    def made_from(self) -> Mapping[str, Any]:
        return {"result": "annotate" if self.weights else "score", **self.checkpoint, **self.source.identity}

    def tables(self, part: int) -> Iterator[CountedTable]:
        for pairs in self.source.read(part, self.users, self.items):
            logits, fallback = self.model.score(pairs.user_ids, pairs.item_ids)
            numbers = [column.numpy() for column in self._numbers(logits)]
            columns = [*pairs.columns.values(), *numbers, fallback_column(fallback)]
            yield pa.table(columns, schema=self.schema), count_fallbacks(fallback)

    def _numbers(self, logits: Tensor) -> list[Tensor]:
        return [*(inverse_dual_weights(logits) if self.weights else ()), self.model.probabilities(logits)]


def fallback_column(fallback: np.ndarray[Any, np.dtype[np.int8]], known: str = FALLBACKS[MODEL]) -> pa.Array:
    """Returns places in `FALLBACKS` as a column `answered_by`; `known` is what stands for the model."""
    return pa.DictionaryArray.from_arrays(pa.array(fallback), pa.array([known, *FALLBACKS[1:]]))


def count_fallbacks(fallback: np.ndarray[Any, np.dtype[np.int8]]) -> dict[str, int]:
    """Counts rows, and those of the model and of each fallback."""
    counts = np.bincount(fallback, minlength=len(FALLBACKS)).tolist()
    return {"rows": fallback.size, **dict(zip(FALLBACKS, counts, strict=True))}
