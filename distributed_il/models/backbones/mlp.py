"""A multi-layer perceptron over both embeddings."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from distributed_il.models.backbones.backbone import Backbone
from distributed_il.models.backbones.perceptron import add_perceptron_of_pairs, halving_perceptron, perceptron_dim


class MLP(Backbone):
    """NeuMF's perceptron alone: x = hᵀ MLP([p_u, q_i]) + b (He et al., WWW 2017, Eq. 10).

    A row is 4 · `embedding_dim` wide; the layers halve in width down to `embedding_dim`.
    """

    def __init__(self, embedding_dim: int) -> None:
        super().__init__(embedding_dim)
        self.user_dim = self.item_dim = perceptron_dim(embedding_dim)
        self.perceptron = halving_perceptron(embedding_dim)
        self.predict = nn.Linear(embedding_dim, 1)
        nn.init.kaiming_uniform_(self.predict.weight, a=1, nonlinearity="sigmoid")
        nn.init.zeros_(self.predict.bias)

    def forward(self, user_rows: Tensor, item_rows: Tensor) -> Tensor:
        return self.predict(self.perceptron(torch.cat([user_rows, item_rows], dim=1))).squeeze(-1)

    def all_pairs(self, user_rows: Tensor, item_rows: Tensor, *codes: Tensor) -> Tensor:
        logits = self.predict.bias.repeat(len(user_rows), len(item_rows))
        add_perceptron_of_pairs(logits, self.perceptron, self.predict.weight[0], user_rows, item_rows)
        return logits
