"""Generalised matrix factorisation."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from distributed_il.models.backbones.backbone import Backbone


class GMF(Backbone):
    """Generalised matrix factorisation: x = hᵀ(p_u ⊙ q_i) + b (He et al., WWW 2017, Eq. 9)."""

    linear_in_users = True

    def __init__(self, embedding_dim: int) -> None:
        super().__init__(embedding_dim)
        self.user_dim = self.item_dim = embedding_dim
        self.predict = nn.Linear(embedding_dim, 1)
        # h = 1 starts as plain matrix factorisation. Random signs start on a plateau that takes five to ten rounds of
        # MovieLens-1M to leave, and end lower.
        nn.init.ones_(self.predict.weight)
        nn.init.zeros_(self.predict.bias)

    def forward(self, user_rows: Tensor, item_rows: Tensor) -> Tensor:
        # Written out, so that a compiler makes one loop of it; a matrix product of one column is a call of its own.
        return (user_rows * item_rows * self.predict.weight).sum(dim=1) + self.predict.bias

    def all_pairs(self, user_rows: Tensor, item_rows: Tensor, *codes: Tensor) -> Tensor:
        # The bias is one more column: added afterwards it would cost another pass over all logits.
        users = torch.cat([user_rows * self.predict.weight, self.predict.bias.expand(len(user_rows), 1)], dim=1)
        return users @ torch.cat([item_rows, item_rows.new_ones((len(item_rows), 1))], dim=1).T
