"""A factorisation machine beside a perceptron, over ids and side features."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from distributed_il.models.backbones.backbone import Backbone
from distributed_il.models.backbones.perceptron import add_perceptron_of_pairs, perceptron

FEATURE_STD = 0.01
"""Standard deviation that the embeddings of side features start from; tables have theirs by default, too."""


class DeepFM(Backbone):
    """x = Σ_f w_f + Σ_{f<g} e_f · e_g + hᵀ MLP([e_1, …, e_F]) + b (Guo et al., IJCAI 2017, Eqs. 1 to 4).

    The fields f are the user, the item, and each of their side features, with an embedding e_f that both parts share
    and a first-order weight w_f: the first columns and the last one of a user row, of an item row, and of the row of a
    feature's value, which is a parameter of the tower; so is the row of the unknown value. Of several values it is the
    mean of their rows.

    Deviation: the perceptron's three layers halve from 4 · `embedding_dim` down to `embedding_dim`, without dropout,
    where the paper has 400 units in each.
    """

    takes_features = True

    def __init__(
        self,
        embedding_dim: int,
        *,
        user_values: Sequence[int] = (),
        item_values: Sequence[int] = (),
        user_widths: Sequence[int] = (),
        item_widths: Sequence[int] = (),
    ) -> None:
        super().__init__(embedding_dim)
        self.user_dim = self.item_dim = embedding_dim + 1
        self.user_features, self.item_features = (
            nn.ParameterList(torch.empty(1 + count, embedding_dim + 1).normal_(0, FEATURE_STD) for count in values)
            for values in (user_values, item_values)
        )
        self._user_widths = tuple(user_widths) or (1,) * len(user_values)
        self._item_widths = tuple(item_widths) or (1,) * len(item_values)
        fields = 2 + len(user_values) + len(item_values)
        self.perceptron = perceptron([fields * embedding_dim, 4 * embedding_dim, 2 * embedding_dim, embedding_dim])
        self.predict = nn.Linear(embedding_dim, 1)
        nn.init.kaiming_uniform_(self.predict.weight, a=1, nonlinearity="sigmoid")
        nn.init.zeros_(self.predict.bias)

    def forward(
        self,
        user_rows: Tensor,
        item_rows: Tensor,
        user_codes: Tensor | None = None,
        item_codes: Tensor | None = None,
    ) -> Tensor:
        fields = [user_rows, *self._of_users(user_codes), item_rows, *self._of_items(item_codes)]
        alone, embeddings = _orders(torch.stack(fields, dim=1))
        return alone + self.predict(self.perceptron(embeddings.flatten(1))).squeeze(-1)

    def all_pairs(self, user_rows: Tensor, item_rows: Tensor, *codes: Tensor) -> Tensor:
        user_codes, item_codes = codes or (None, None)
        users, of_users = _orders(torch.stack([user_rows, *self._of_users(user_codes)], dim=1))
        items, of_items = _orders(torch.stack([item_rows, *self._of_items(item_codes)], dim=1))
        # What is left of the second order are the products of one field of each side: Σ_f e_f · Σ_g e_g.
        logits = torch.addmm(users.unsqueeze(1) + self.predict.bias, of_users.sum(dim=1), of_items.sum(dim=1).T) + items
        parts = of_users.flatten(1), of_items.flatten(1)
        add_perceptron_of_pairs(logits, self.perceptron, self.predict.weight[0], *parts)
        return logits

    def _of_users(self, codes: Tensor | None) -> list[Tensor]:
        return _rows(self.user_features, self._user_widths, codes)

    def _of_items(self, codes: Tensor | None) -> list[Tensor]:
        return _rows(self.item_features, self._item_widths, codes)


def _orders(rows: Tensor) -> tuple[Tensor, Tensor]:
    """Of fields [B, F, embedding_dim + 1]: Σ_f w_f + Σ_{f<g} e_f · e_g, [B], and the embeddings e_f alone."""
    first_order, embeddings = rows[:, :, -1].sum(dim=1), rows[:, :, :-1]
    # Σ_{f<g} e_f · e_g = ½ (|Σ_f e_f|² − Σ_f |e_f|²): linear in the number of fields.
    second_order = (embeddings.sum(dim=1).square() - embeddings.square().sum(dim=1)).sum(dim=1) / 2
    return first_order + second_order, embeddings


def _rows(features: nn.ParameterList, widths: Sequence[int], codes: Tensor | None) -> list[Tensor]:
    """Looks up the row of each feature's value, or the mean of those of its values, [B, embedding_dim + 1] each."""
    if codes is None or not widths:
        return []
    of_columns = codes.long().split(list(widths), dim=1)
    return [
        F.embedding(own[:, 0], table) if own.shape[1] == 1 else _mean(table, own)
        for table, own in zip(features, of_columns, strict=True)
    ]


def _mean(table: Tensor, codes: Tensor) -> Tensor:
    """Averages the rows of codes [B, width] but the zeros behind them; a first one is the unknown value alone."""
    given = torch.cat([torch.ones_like(codes[:, :1]), codes[:, 1:].sign()], dim=1).to(table.dtype)
    return (given.unsqueeze(-1) * F.embedding(codes, table)).sum(dim=1) / given.sum(dim=1, keepdim=True)
