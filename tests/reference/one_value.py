"""A backbone of one's own from before a side feature could have several values."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from distributed_il.models.backbones import Backbone


class OneValue(Backbone):
    """A dot product that leaves its side features alone."""

    takes_features = True

    def __init__(self, embedding_dim: int, *, user_values: Sequence[int] = (), item_values: Sequence[int] = ()) -> None:
        super().__init__(embedding_dim)
        self.user_dim = self.item_dim = embedding_dim

    def forward(self, user_rows: Tensor, item_rows: Tensor, *codes: Tensor) -> Tensor:
        return (user_rows * item_rows).sum(dim=1)
