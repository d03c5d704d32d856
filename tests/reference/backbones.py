"""Backbones that a user might bring: named as `backbones:Biased`."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from distributed_il.models.backbones import Backbone


class Biased(Backbone):
    """x = p_u · q_i + b_u + b_i + b: rows of one more column than the embedding, and a tower of one scalar."""

    def __init__(self, embedding_dim: int) -> None:
        super().__init__(embedding_dim)
        self.user_dim = self.item_dim = embedding_dim + 1
        self.offset = nn.Parameter(torch.zeros(()))

    def forward(self, user_rows: Tensor, item_rows: Tensor) -> Tensor:
        product = (user_rows[:, 1:] * item_rows[:, 1:]).sum(dim=1)
        return product + user_rows[:, 0] + item_rows[:, 0] + self.offset


class DotProduct(Backbone):
    """x = p_u · q_i: no parameters of its own."""

    def __init__(self, embedding_dim: int) -> None:
        super().__init__(embedding_dim)
        self.user_dim = self.item_dim = embedding_dim

    def forward(self, user_rows: Tensor, item_rows: Tensor) -> Tensor:
        return (user_rows * item_rows).sum(dim=1)


class ColumnLogits(DotProduct):
    """A mistake: logits [B, 1] instead of [B]."""

    def forward(self, user_rows: Tensor, item_rows: Tensor) -> Tensor:
        return super().forward(user_rows, item_rows).unsqueeze(1)
