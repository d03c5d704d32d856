"""Scores and weights of pairs, as a result in parts."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import torch
from torch import Tensor

from distributed_il.inference.id_lookup import IdLookup
from distributed_il.inference.model import ANSWERS, ServedModel
from distributed_il.inference.pair_sources import PairSource
from distributed_il.inference.result_parts import CountedTable
from distributed_il.methods.losses import inverse_dual_weights

ANSWERED_BY = pa.dictionary(pa.int8(), pa.string())


@dataclass(frozen=True, eq=False, slots=True)
class PairResults:
    """ŷ of each pair as `score`, and with `weights` its annotation w1 and w0 (Eq. 4); a `Work`.

    Attributes:
        model: The model.
        users: External ids of users.
        items: External ids of items.
        source: The pairs.
        weights: Whether to annotate.
        checkpoint: What identifies the model and its dataset.
    """

    model: ServedModel
    users: IdLookup
    items: IdLookup
    source: PairSource
    weights: bool
    checkpoint: Mapping[str, Any]

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
            logits, answered = self.model.score(pairs.user_ids, pairs.item_ids)
            columns = {name: column.numpy() for name, column in self._numbers(logits).items()}
            table = pa.table([*pairs.columns.values(), *columns.values(), answers_column(answered)], schema=self.schema)
            yield table, answer_counts(answered)

    def _numbers(self, logits: Tensor) -> dict[str, Tensor]:
        scores = {"score": probabilities(logits)}
        return dict(zip(("w1", "w0"), inverse_dual_weights(logits), strict=True)) | scores if self.weights else scores


def probabilities(logits: Tensor) -> Tensor:
    """ŷ = σ(x), computed in float64, of the dtype of the logits."""
    return torch.sigmoid(logits.to(torch.float64)).to(logits.dtype)


def answers_column(answered: np.ndarray[Any, np.dtype[np.int8]]) -> pa.Array:
    """Who answered, as a column of `ANSWERED_BY`."""
    return pa.DictionaryArray.from_arrays(pa.array(answered), pa.array(ANSWERS))


def answer_counts(answered: np.ndarray[Any, np.dtype[np.int8]]) -> dict[str, int]:
    """Rows in all, and by who answered."""
    counts = np.bincount(answered, minlength=len(ANSWERS)).tolist()
    return {"rows": answered.size, **dict(zip(ANSWERS, counts, strict=True))}
