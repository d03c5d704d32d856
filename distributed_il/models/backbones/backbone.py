"""The interface between embedding tables and a backbone, and how a backbone is found by name."""

from __future__ import annotations

import inspect
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import ClassVar

import torch
from torch import Tensor, nn

from distributed_il.core.config import ModelConfig
from distributed_il.core.errors import UserError
from distributed_il.core.own_code import find_object
from distributed_il.data.features import Features

BUILT_IN = {
    "gmf": "distributed_il.models.backbones.gmf:GMF",
    "neumf": "distributed_il.models.backbones.neumf:NeuMF",
    "bias_mf": "distributed_il.models.backbones.bias_mf:BiasMF",
    "mlp": "distributed_il.models.backbones.mlp:MLP",
    "deepfm": "distributed_il.models.backbones.deepfm:DeepFM",
}
ITEMS_AT_ONCE = 1024
"""Items of `all_pairs` that go through the tower together with one user: what it makes of each stays in a cache."""


class Backbone(nn.Module, ABC):
    """A dense tower over one user row and one item row for each pair.

    Embeddings are no parameters of the backbone: they live in tables, of which a step gathers only the rows it
    touches. A backbone says how wide its rows are and maps gathered rows to logits. Its own parameters form the
    tower, which DDP wraps.

    One that sets `takes_features` is built as `cls(embedding_dim, user_values=…, item_values=…)` with the number of
    values of each side feature, none where the dataset has none. If it has some, `forward` and `all_pairs` are given
    the codes of users and items after their rows, integers [B, columns], 0 for unknown, else up to the number of
    values. Where some have several values in a column, it is also built with `user_widths=…, item_widths=…`, and codes
    are [B, Σ widths]: of each column its width of them, and 0 behind the last value. Embeddings of such values are few,
    so that they are parameters of the tower: one whose first dimension follows from a number of values is 1 longer than
    that, with a row for each code.

    Attributes:
        user_dim: Width of a user row.
        item_dim: Width of an item row.
        takes_features: Whether it makes use of side features.
        linear_in_users: Whether a logit is a(item) · user row + b(item), which makes folding users in several times
            faster.
    """

    user_dim: int
    item_dim: int
    takes_features: ClassVar[bool] = False
    linear_in_users: ClassVar[bool] = False

    def __init__(self, embedding_dim: int) -> None:
        """Builds the tower for embeddings of size `embedding_dim`, at least 1; a row may hold several."""
        super().__init__()
        self.embedding_dim = embedding_dim

    @abstractmethod
    def forward(self, user_rows: Tensor, item_rows: Tensor) -> Tensor:
        """Computes x = f(u, i; θ), each pair on its own.

        A pair's logit must not depend on the other pairs of the batch (no batch normalisation) nor on chance (no
        dropout): the result of a run is defined by its global batches, however many workers share them.

        Args:
            user_rows: [B, user_dim], floating point.
            item_rows: [B, item_dim], same dtype.

        Returns:
            Logits [B], same dtype.
        """

    def all_pairs(self, user_rows: Tensor, item_rows: Tensor, *codes: Tensor) -> Tensor:
        """Computes the logits of every user with every item, for ranking; called without gradient.

        A backbone whose logit, or its first layer, comes apart into a user and an item part overrides this; of any
        other each pair goes through `forward`.

        Args:
            user_rows: [U, user_dim], floating point.
            item_rows: [I, item_dim], same dtype.
            codes: Of the users [U, columns] and of the items [I, columns], where the backbone is given such.

        Returns:
            Logits [U, I], same dtype; those of `forward` up to rounding.
        """
        logits = user_rows.new_empty((len(user_rows), len(item_rows)))
        for start in range(0, len(item_rows), ITEMS_AT_ONCE):
            tile = [rows[start : start + ITEMS_AT_ONCE] for rows in (item_rows, *codes[1:])]
            for user, own in enumerate(logits[:, start : start + ITEMS_AT_ONCE]):
                alone = [rows[user].expand(len(own), -1) for rows in (user_rows, *codes[:1])]
                own.copy_(self(*(rows for both in zip(alone, tile, strict=True) for rows in both)))
        return logits


def find_backbone(config: ModelConfig) -> type[Backbone]:
    """Finds the backbone class that `config.backbone` names.

    Raises:
        UserError: The name is unknown, can't be imported, or is no `Backbone`.
    """
    cls = find_object("model.backbone", BUILT_IN.get(config.backbone, config.backbone), BUILT_IN)
    if not (isinstance(cls, type) and issubclass(cls, Backbone)):
        raise UserError(
            f"model.backbone '{config.backbone}' is no subclass of distributed_il.models.backbones.Backbone"
        )
    return cls


def load_backbone(config: ModelConfig, *, seed: int, features: Features | None = None) -> Backbone:
    """Builds the backbone that `config.backbone` names, with weights that follow from the seed.

    The caller's random state is left as it was. Of the features only their numbers of values count.

    Raises:
        UserError: The name is unknown, can't be imported, or is no `Backbone`, or is one that takes side features, but
            not several values in one of them, as there are.
    """
    cls = find_backbone(config)
    values: dict[str, Sequence[int]] = {}
    if cls.takes_features and features is not None:
        values = {"user_values": features.user_values, "item_values": features.item_values}
        if features.user_widths or features.item_widths:
            _require_widths(cls)
            values |= {"user_widths": features.user_widths, "item_widths": features.item_widths}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        backbone = cls(config.embedding_dim, **values)
    return backbone.to(getattr(torch, config.dtype))


def _require_widths(cls: type[Backbone]) -> None:
    taken = inspect.signature(cls).parameters
    anything = any(argument.kind is argument.VAR_KEYWORD for argument in taken.values())
    if not anything and not {"user_widths", "item_widths"} <= taken.keys():
        raise UserError(
            f"the backbone {cls.__name__} takes one value of each side feature, and some here have several; give it "
            "arguments user_widths and item_widths, or prepare the dataset without a separator of values"
        )
