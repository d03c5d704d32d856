"""Matrix factorisation with biases."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from distributed_il.models.backbones.backbone import Backbone


class BiasMF(Backbone):
    """x = p_u · q_i + b_u + b_i + b (Koren, Bell and Volinsky, Computer 2009, Eq. 4, with a logit for the rating).

    A row holds the embedding, and its bias in the last column.
    """

    linear_in_users = True

    def __init__(self, embedding_dim: int) -> None:
        super().__init__(embedding_dim)
        self.user_dim = self.item_dim = embedding_dim + 1
        self.offset = nn.Parameter(torch.zeros(1))

    def forward(self, user_rows: Tensor, item_rows: Tensor) -> Tensor:
        size = self.embedding_dim
        product = (user_rows[:, :size] * item_rows[:, :size]).sum(dim=1)
        return product + user_rows[:, size] + item_rows[:, size] + self.offset

    def all_pairs(self, user_rows: Tensor, item_rows: Tensor, *codes: Tensor) -> Tensor:
        # [p_u, b_u + b, 1] · [q_i, 1, b_i]: biases added afterwards would cost more passes over all logits.
        size = self.embedding_dim
        ones = [rows.new_ones((len(rows), 1)) for rows in (user_rows, item_rows)]
        users = torch.cat([user_rows[:, :size], user_rows[:, size:] + self.offset, ones[0]], dim=1)
        return users @ torch.cat([item_rows[:, :size], ones[1], item_rows[:, size:]], dim=1).T
