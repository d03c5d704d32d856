"""A backbone without any taste: what user and item alone say."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from distributed_il.models.backbones import Backbone


class UserItemBias(Backbone):
    """x = b_u + b_i + b. Named in a configuration as `benchmarks.feedback_value.item_and_user:UserItemBias`."""

    def __init__(self, embedding_dim: int) -> None:
        super().__init__(embedding_dim)
        self.user_dim = self.item_dim = 1
        self.offset = nn.Parameter(torch.zeros(1))

    def forward(self, user_rows: Tensor, item_rows: Tensor) -> Tensor:
        return user_rows[:, 0] + item_rows[:, 0] + self.offset
