"""Perceptrons, and the one over both embeddings that two backbones share."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn

LAYERS = 3
TILE_BYTES = 2**19
"""Of the widest layer's output for one tile of pairs, so that it is still in a cache when the next layer reads it."""


def perceptron_dim(embedding_dim: int) -> int:
    """Width of one side's part of the perceptron's input."""
    return embedding_dim * 2 ** (LAYERS - 1)


def halving_perceptron(embedding_dim: int) -> nn.Sequential:
    """Three layers with ReLU that halve in width down to `embedding_dim`; the input is a user and an item part."""
    return perceptron([2 * perceptron_dim(embedding_dim) // 2**depth for depth in range(LAYERS + 1)])


def perceptron(widths: Sequence[int]) -> nn.Sequential:
    """Layers with ReLU, of the widths of the input and of each layer."""
    layers: list[nn.Module] = []
    for width, following in pairwise(widths):
        linear = nn.Linear(width, following)
        nn.init.xavier_uniform_(linear.weight)
        nn.init.zeros_(linear.bias)
        layers += [linear, nn.ReLU()]
    return nn.Sequential(*layers)


def add_perceptron_of_pairs(
    logits: Tensor, perceptron: nn.Sequential, weight: Tensor, user_part: Tensor, item_part: Tensor
) -> None:
    """Adds hᵀ MLP([u, v]) of every user u with every item v, without gradient.

    The first layer is a sum of two products, W [u, v] + c = (W_u u + c) + W_v v, so each is made once for a user and
    once for an item. A pair goes through the layers behind it alone, one user with a tile of items at a time.

    Args:
        logits: [U, I], floating point, added to in place.
        perceptron: Linear layers, each with a ReLU behind it; the input of the first is a user and an item part.
        weight: h, [width of the last layer], same dtype.
        user_part: [U, width of a user's part], same dtype.
        item_part: [I, width of an item's part], same dtype.
    """
    first, *rest = [layer for layer in perceptron if isinstance(layer, nn.Linear)]
    user_weight, item_weight = first.weight.split([user_part.shape[1], item_part.shape[1]], dim=1)
    users, items = torch.addmm(first.bias, user_part, user_weight.T), item_part @ item_weight.T
    widths = [first.out_features, *(layer.out_features for layer in rest)]
    size = max(1, TILE_BYTES // (max(widths) * items.element_size()))
    for start in range(0, len(items), size):
        tile = items[start : start + size]
        outputs = [tile.new_empty((len(tile), width)) for width in widths]
        for user, own in zip(users, logits[:, start : start + size], strict=True):
            torch.add(tile, user, out=outputs[0]).relu_()
            for layer, (hidden, output) in zip(rest, pairwise(outputs), strict=True):
                torch.addmm(layer.bias, hidden, layer.weight.T, out=output).relu_()
            own.addmv_(outputs[-1], weight)
