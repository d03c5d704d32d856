"""The perceptron over both embeddings that two backbones share."""

from __future__ import annotations

from torch import nn

LAYERS = 3


def perceptron_dim(embedding_dim: int) -> int:
    """Width of one side's part of the perceptron's input."""
    return embedding_dim * 2 ** (LAYERS - 1)


def halving_perceptron(embedding_dim: int) -> nn.Sequential:
    """Three layers with ReLU that halve in width down to `embedding_dim`; the input is a user and an item part.

    Args:
        embedding_dim: Width of the last layer.
    """
    layers: list[nn.Module] = []
    for depth in range(LAYERS):
        width = 2 * perceptron_dim(embedding_dim) // 2**depth
        linear = nn.Linear(width, width // 2)
        nn.init.xavier_uniform_(linear.weight)
        nn.init.zeros_(linear.bias)
        layers += [linear, nn.ReLU()]
    return nn.Sequential(*layers)
