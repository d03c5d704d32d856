"""Neural matrix factorisation."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from distributed_il.models.backbones.backbone import Backbone
from distributed_il.models.backbones.perceptron import add_perceptron_of_pairs, halving_perceptron, perceptron_dim


class NeuMF(Backbone):
    """GMF beside a three-layer perceptron: x = hᵀ[p_u ⊙ q_i, MLP([p'_u, q'_i])] + b (He et al., WWW 2017, Eq. 12).

    A row holds both embeddings side by side: the first `embedding_dim` columns are GMF's, the other
    4 · `embedding_dim` the perceptron's. Its layers halve in width down to `embedding_dim`.
    """

    def __init__(self, embedding_dim: int) -> None:
        super().__init__(embedding_dim)
        self.user_dim = self.item_dim = embedding_dim + perceptron_dim(embedding_dim)
        self.perceptron = halving_perceptron(embedding_dim)
        self.predict = nn.Linear(2 * embedding_dim, 1)
        nn.init.kaiming_uniform_(self.predict.weight, a=1, nonlinearity="sigmoid")
        nn.init.zeros_(self.predict.bias)

    def forward(self, user_rows: Tensor, item_rows: Tensor) -> Tensor:
        size = self.embedding_dim
        product = user_rows[:, :size] * item_rows[:, :size]
        hidden = self.perceptron(torch.cat([user_rows[:, size:], item_rows[:, size:]], dim=1))
        return self.predict(torch.cat([product, hidden], dim=1)).squeeze(-1)

    def all_pairs(self, user_rows: Tensor, item_rows: Tensor, *codes: Tensor) -> Tensor:
        size = self.embedding_dim
        of_product, of_perceptron = self.predict.weight[0].split(size)
        logits = torch.addmm(self.predict.bias, user_rows[:, :size] * of_product, item_rows[:, :size].T)
        add_perceptron_of_pairs(logits, self.perceptron, of_perceptron, user_rows[:, size:], item_rows[:, size:])
        return logits
