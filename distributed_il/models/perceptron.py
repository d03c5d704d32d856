"""Perceptrons, and the one over both embeddings that two backbones share."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

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
    return perceptron([2 * perceptron_dim(embedding_dim) // 2**depth for depth in range(LAYERS + 1)])


def perceptron(widths: Sequence[int]) -> nn.Sequential:
    """Layers with ReLU.

    Args:
        widths: Of the input, and of each layer.
    """
    layers: list[nn.Module] = []
    for width, following in pairwise(widths):
        linear = nn.Linear(width, following)
        nn.init.xavier_uniform_(linear.weight)
        nn.init.zeros_(linear.bias)
        layers += [linear, nn.ReLU()]
    return nn.Sequential(*layers)
